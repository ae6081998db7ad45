"""Break-glass on the platform plane: operators open, list and revoke their access to a tenant."""

from typing import Annotated

from litestar import delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.types import ASGIApp

from saas.tenancy.access_grants import (
    AccessRead,
    AccessWish,
    OpenedAccess,
    accesses,
    grammar,
    open_access,
    revoke_access,
)
from saas.web.answer import Answer, json_answer
from saas.web.cursors import Cursors
from saas.web.described import described, list_parameters
from saas.web.pages import ListBody, list_answer, parse_page
from saas.web.routed import JSON_BODY, AnyRequest
from saas.web.row_request import row_id


@post(
    "/v1/admin/tenants/{id:str}/access",
    **described(
        "admin.open_access",
        "Enter a tenant for a reason and a while; the tenant reads of it",
        plane="platform",
        success=201,
        body=OpenedAccess,
        refusals=(404, 409),
    ),
)
async def open_tenant(
    request: AnyRequest, id: FromPath[str], data: Annotated[AccessWish, JSON_BODY]
) -> ASGIApp:
    tenant_id = row_id(id)
    opened = await open_access(tenant_id, data, operator=_operator(request))
    location = f"/v1/admin/tenants/{tenant_id}/access/{opened.id}"
    return json_answer(opened, 201, [(b"location", location.encode())])


# Litestar lets no handler of status 204 return anything; the Answer carries the real status.
@delete(
    "/v1/admin/tenants/{id:str}/access/{grant_id:str}",
    status_code=200,
    **described(
        "admin.revoke_access",
        "End an operator's access",
        plane="platform",
        success=204,
        body=None,
        refusals=(404,),
    ),
)
async def close_tenant(request: AnyRequest, id: FromPath[str], grant_id: FromPath[str]) -> ASGIApp:
    await revoke_access(row_id(id), row_id(grant_id), operator=_operator(request))
    return Answer(204)


def access_handlers(cursors: Cursors) -> list[HTTPRouteHandler]:
    @get(
        "/v1/admin/tenants/{id:str}/access",
        **described(
            "admin.accesses",
            "List the accesses to a tenant",
            plane="platform",
            success=200,
            body=ListBody[AccessRead],
            refusals=(400, 404),
            parameters=list_parameters(grammar),
        ),
    )
    async def list_accesses(request: AnyRequest, id: FromPath[str]) -> ASGIApp:
        # The tenant is in the name of the list, so that a cursor leads nowhere else.
        place = f"admin/tenants/{id}/access"
        query = parse_page(request, place, grammar, cursors)
        page = await accesses(row_id(id), query, operator=_operator(request))
        return list_answer(request, place, query, page, cursors)

    return [open_tenant, close_tenant, list_accesses]


def _operator(request: AnyRequest) -> str:
    operator: str = request.scope["state"]["actor"]
    return operator
