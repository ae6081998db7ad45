"""Invitations: make, list, withdraw, and accept, which is how everybody but a tenant's first owner
becomes a member."""

from typing import Annotated

from litestar import delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody
from litestar.types import ASGIApp
from msgspec import Meta

from saas.tenancy.acceptance import Acceptance, Accepted
from saas.tenancy.fields import Email, Name, RoleName
from saas.tenancy.invitations import InvitationRead, Invitations, Invited, repository
from saas.tenancy.members import READ, WRITE
from saas.tenancy.middleware import optional_credential, origin_of
from saas.web.answer import Answer, json_answer
from saas.web.cursors import Cursors
from saas.web.described import IF_MATCH, IF_NONE_MATCH, described, list_parameters
from saas.web.pages import ListBody, list_answer, parse_page
from saas.web.row_answer import new_row, row_answer
from saas.web.row_request import AnyRequest, may_list_deleted, row_id, wanted_version
from saas.web.schemas import Create


class InvitationCreate(Create):
    email: Email
    role: RoleName


class Accept(Create):
    """`name` is what the new member is called in this tenant."""

    token: Annotated[str, Meta(min_length=1, max_length=200)]
    name: Name


def invitation_handlers(
    invitations: Invitations, acceptance: Acceptance, cursors: Cursors
) -> list[HTTPRouteHandler]:
    """The routes below `/v1/invitations`."""
    return [
        _create(invitations),
        _list(cursors),
        get_invitation,
        _revoke(invitations),
        _accept(acceptance),
    ]


def _create(invitations: Invitations) -> HTTPRouteHandler:
    @post(
        "/v1/invitations",
        **described(
            "invitations.create",
            "Invite somebody; the token is shown this once",
            permission=WRITE,
            success=201,
            body=Invited,
            refusals=(409,),
        ),
    )
    async def create_invitation(data: JSONBody[InvitationCreate]) -> ASGIApp:
        made = await invitations.invite(data.email, data.role)
        return new_row(made, f"/v1/invitations/{made.id}")

    return create_invitation


def _list(cursors: Cursors) -> HTTPRouteHandler:
    @get(
        "/v1/invitations",
        **described(
            "invitations.list",
            "List invitations",
            permission=READ,
            success=200,
            body=ListBody[InvitationRead],
            refusals=(400,),
            parameters=list_parameters(repository.grammar),
        ),
    )
    async def list_invitations(request: AnyRequest) -> ASGIApp:
        query = parse_page(request, "invitations", repository.grammar, cursors)
        may_list_deleted(query, WRITE)
        return list_answer(request, "invitations", query, await repository.list(query), cursors)

    return list_invitations


@get(
    "/v1/invitations/{id:str}",
    **described(
        "invitations.get",
        "Read an invitation",
        permission=READ,
        success=200,
        body=InvitationRead,
        refusals=(400, 404),
        parameters=(IF_NONE_MATCH,),
    ),
)
async def get_invitation(request: AnyRequest, id: FromPath[str]) -> ASGIApp:
    return row_answer(request, await repository.get(row_id(id)))


def _revoke(invitations: Invitations) -> HTTPRouteHandler:
    @delete(
        "/v1/invitations/{id:str}",
        status_code=200,
        **described(
            "invitations.revoke",
            "Withdraw an invitation",
            permission=WRITE,
            success=204,
            body=None,
            refusals=(400, 404, 409, 412),
            parameters=(IF_MATCH,),
        ),
    )
    async def revoke_invitation(request: AnyRequest, id: FromPath[str]) -> ASGIApp:
        wanted = await wanted_version(request, repository, id, is_demanded=False)
        with wanted.refusals():
            await invitations.revoke(row_id(id), version=wanted.version)
        return Answer(204)

    return revoke_invitation


def _accept(acceptance: Acceptance) -> HTTPRouteHandler:
    @post(
        "/v1/invitations/accept",
        **described(
            "invitations.accept",
            "Become a member; with a member's access token, as the same person",
            plane="open",
            success=201,
            body=Accepted,
            refusals=(401, 403, 409, 429, 503),
        ),
    )
    async def accept_invitation(request: AnyRequest, data: JSONBody[Accept]) -> ASGIApp:
        accepted = await acceptance.accept(
            data.token,
            data.name,
            credential=optional_credential(request.scope),
            origin=origin_of(request.scope),
        )
        member = accepted.member
        state = request.scope["state"]
        state["tenant_id"], state["actor"] = str(accepted.tenant.id), f"member:{member.id}"
        return json_answer(accepted, 201, [(b"location", f"/v1/members/{member.id}".encode())])

    return accept_invitation
