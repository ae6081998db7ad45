"""The platform plane: operators onboard tenants and look them up."""

from typing import Any
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.connection import Request
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody
from litestar.types import ASGIApp

from saas.db.query import bad_parameter
from saas.tenancy.directory import TenantRead, tenant_by_id, tenants_after
from saas.tenancy.onboarding import Onboard, onboard
from saas.web.answer import json_answer
from saas.web.described import described, query_parameter
from saas.web.pages import ListBody, query_pairs
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
        OwnerRead(done.owner_id, data.owner.email, data.owner.name, "owner"),
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
    return json_answer(await tenant_by_id(row_id(id)))


@get(
    "/v1/admin/tenants",
    **described(
        "admin.list",
        "List tenants by slug",
        plane="platform",
        success=200,
        body=ListBody[TenantRead],
        refusals=(400,),
        parameters=(
            query_parameter(
                "limit", {"type": "integer", "minimum": 1, "maximum": 100}, "Rows on a page."
            ),
            query_parameter("cursor", {"type": "string"}, "next_cursor of the page before."),
        ),
    ),
)
async def list_tenants(request: Request[Any, Any, Any]) -> ASGIApp:
    after, limit = "", 20
    for name, text in query_pairs(request):
        if name == "cursor":
            after = text
        elif name == "limit" and text.isascii() and text.isdigit() and 1 <= int(text) <= 100:
            limit = int(text)
        else:
            raise bad_parameter(name, "Allowed: cursor, and limit from 1 to 100.")
    rows = await tenants_after(after, limit + 1)
    more = rows[limit - 1].slug if len(rows) > limit else None
    return json_answer(ListBody(rows[:limit], limit, more))


def admin_handlers() -> list[HTTPRouteHandler]:
    return [onboard_tenant, get_tenant, list_tenants]
