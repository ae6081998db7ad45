"""The platform plane: operators onboard tenants and look them up."""

from typing import Any
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.connection import Request
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody
from litestar.types import ASGIApp

from saas.db.query import bad_parameter
from saas.tenancy.directory import TenantRead, tenant_by_id, tenants_after
from saas.tenancy.onboarding import Onboard, onboard
from saas.web.answer import json_answer
from saas.web.pages import ListBody, query_pairs
from saas.web.routes import row_id


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


def _platform(operation: str, status: int, body: Any) -> dict[str, Any]:
    return {
        "name": f"admin.{operation}",
        "operation_id": f"admin_{operation}",
        "opt": {"plane": "platform"},
        "tags": ["admin"],
        "responses": {status: ResponseSpec(body, description="Done", generate_examples=False)},
    }


@post("/v1/admin/tenants", **_platform("onboard", 201, OnboardedBody))
async def onboard_tenant(request: Request[Any, Any, Any], data: JSONBody[Onboard]) -> ASGIApp:
    done = await onboard(data, actor=request.scope["state"]["actor"])
    body = OnboardedBody(
        done.tenant,
        OwnerRead(done.owner_id, data.owner.email, data.owner.name, "owner"),
        NewKey(done.api_key.key_id, done.api_key.prefix, done.api_key.text),
    )
    return json_answer(body, 201, [(b"location", f"/v1/admin/tenants/{done.tenant.id}".encode())])


@get("/v1/admin/tenants/{id:str}", **_platform("get", 200, TenantRead))
async def get_tenant(id: FromPath[str]) -> ASGIApp:
    return json_answer(await tenant_by_id(row_id(id)))


@get("/v1/admin/tenants", **_platform("list", 200, ListBody))
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
