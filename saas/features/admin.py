"""The platform plane: operators onboard tenants and look them up."""

from typing import Any
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.connection import Request
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody
from litestar.types import ASGIApp

from saas.tenancy.directory import TenantRead, grammar, tenant_by_id, tenants
from saas.tenancy.onboarding import Onboard, onboard
from saas.web.answer import json_answer
from saas.web.cursors import Cursors
from saas.web.described import described, list_parameters
from saas.web.pages import ListBody, list_answer, parse_page
from saas.web.preconditions import etag_header
from saas.web.row_request import row_id


class OwnerRead(msgspec.Struct, frozen=True):
    id: UUID
    email: str
    name: str
    role: str


class NewKey(msgspec.Struct, frozen=True):
    """`key` is shown this once."""

    id: UUID
    prefix: str
    key: str


class OnboardedBody(msgspec.Struct, frozen=True):
    tenant: TenantRead
    owner: OwnerRead
    api_key: NewKey


@post(
    "/v1/admin/tenants",
    **described(
        "admin.onboard",
        "Onboard a tenant with its first owner and key",
        plane="platform",
        success=201,
        body=OnboardedBody,
        refusals=(409,),
    ),
)
async def onboard_tenant(request: Request[Any, Any, Any], data: JSONBody[Onboard]) -> ASGIApp:
    done = await onboard(data, actor=request.scope["state"]["actor"])
    body = OnboardedBody(
        done.tenant,
        OwnerRead(done.owner_id, done.owner_email, data.owner.name, "owner"),
        NewKey(done.api_key.key_id, done.api_key.prefix, done.api_key.text),
    )
    return json_answer(body, 201, [(b"location", f"/v1/admin/tenants/{done.tenant.id}".encode())])


@get(
    "/v1/admin/tenants/{id:str}",
    **described(
        "admin.get",
        "Read a tenant",
        plane="platform",
        success=200,
        body=TenantRead,
        refusals=(404,),
    ),
)
async def get_tenant(id: FromPath[str]) -> ASGIApp:
    row = await tenant_by_id(row_id(id))
    return json_answer(row, headers=[etag_header(row.version)])


def admin_handlers(cursors: Cursors) -> list[HTTPRouteHandler]:
    @get(
        "/v1/admin/tenants",
        **described(
            "admin.list",
            "List tenants",
            plane="platform",
            success=200,
            body=ListBody[TenantRead],
            refusals=(400,),
            parameters=list_parameters(grammar),
        ),
    )
    async def list_tenants(request: Request[Any, Any, Any]) -> ASGIApp:
        query = parse_page(request, "admin/tenants", grammar, cursors)
        page = await tenants(query)
        return list_answer(request, "admin/tenants", query, page, cursors)

    return [onboard_tenant, get_tenant, list_tenants]
