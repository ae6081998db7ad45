"""Members of the tenant: list, change, remove. They come by invitation (`invitations.py`)."""

from litestar import delete, get, patch
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody
from litestar.types import ASGIApp
from msgspec import UNSET, UnsetType

from saas.tenancy.fields import MemberStatus, Name, RoleName
from saas.tenancy.members import READ, WRITE, MemberRead, Members, repository
from saas.web.answer import Answer
from saas.web.cursors import Cursors
from saas.web.described import IF_MATCH, IF_NONE_MATCH, described, list_parameters
from saas.web.pages import ListBody, list_answer, parse_page
from saas.web.row_answer import changed_row, row_answer
from saas.web.row_request import AnyRequest, may_list_deleted, row_id, wanted_version
from saas.web.schemas import Update, values_of


class MemberUpdate(Update):
    """A member's address is his own: nobody changes it."""

    role: RoleName | UnsetType = UNSET
    name: Name | UnsetType = UNSET
    status: MemberStatus | UnsetType = UNSET


def member_handlers(members: Members, cursors: Cursors) -> list[HTTPRouteHandler]:
    """The routes below `/v1/members`."""
    return [_list(cursors), get_member, _update(members), _remove(members)]


def _list(cursors: Cursors) -> HTTPRouteHandler:
    @get(
        "/v1/members",
        **described(
            "members.list",
            "List members",
            permission=READ,
            success=200,
            body=ListBody[MemberRead],
            refusals=(400,),
            parameters=list_parameters(repository.grammar),
        ),
    )
    async def list_members(request: AnyRequest) -> ASGIApp:
        query = parse_page(request, "members", repository.grammar, cursors)
        may_list_deleted(query, WRITE)
        return list_answer(request, "members", query, await repository.list(query), cursors)

    return list_members


@get(
    "/v1/members/{id:str}",
    **described(
        "members.get",
        "Read a member",
        permission=READ,
        success=200,
        body=MemberRead,
        refusals=(400, 404),
        parameters=(IF_NONE_MATCH,),
    ),
)
async def get_member(request: AnyRequest, id: FromPath[str]) -> ASGIApp:
    return row_answer(request, await repository.get(row_id(id)))


def _update(members: Members) -> HTTPRouteHandler:
    @patch(
        "/v1/members/{id:str}",
        **described(
            "members.update",
            "Change a member's role, name or status",
            permission=WRITE,
            success=200,
            body=MemberRead,
            refusals=(404, 409, 412),
            parameters=(IF_MATCH,),
        ),
    )
    async def update_member(
        request: AnyRequest, id: FromPath[str], data: JSONBody[MemberUpdate]
    ) -> ASGIApp:
        wanted = await wanted_version(
            request, repository, id, in_body=data.version, is_demanded=False
        )
        with wanted.refusals():
            row = await members.change(row_id(id), values_of(data), version=wanted.version)
        return changed_row(row)

    return update_member


def _remove(members: Members) -> HTTPRouteHandler:
    @delete(
        "/v1/members/{id:str}",
        status_code=200,
        **described(
            "members.remove",
            "Remove a member, or leave the tenant",
            permission=WRITE,
            own_permission=READ,
            success=204,
            body=None,
            refusals=(400, 404, 409, 412),
            parameters=(IF_MATCH,),
        ),
    )
    async def remove_member(request: AnyRequest, id: FromPath[str]) -> ASGIApp:
        wanted = await wanted_version(request, repository, id, is_demanded=False)
        with wanted.refusals():
            await members.remove(row_id(id), version=wanted.version)
        return Answer(204)

    return remove_member
