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
from saas.db.query_values import Refused, integer
from saas.tenancy.directory import TenantRead, tenant_by_id
from saas.tenancy.onboarding import Onboard, onboard
from saas.tenancy.usage_directory import TenantUsage, tenants_and_usage, usage_grammar
from saas.web.answer import json_answer
from saas.web.cursors import Cursors
from saas.web.described import described, list_parameters, query_parameter
from saas.web.pages import ListBody, list_answer, parse_page, query_pairs
from saas.web.preconditions import etag_header
from saas.web.row_request import row_id

_MOST_DAYS = 3_650
_DORMANT_DAYS = query_parameter(
    "dormant_days",
    {"type": "integer", "minimum": 1, "maximum": _MOST_DAYS},
    "Only tenants without a request and without a change for so many days.",
)


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
            "List tenants with what they use",
            plane="platform",
            success=200,
            body=ListBody[TenantUsage],
            refusals=(400,),
            parameters=[*list_parameters(usage_grammar), _DORMANT_DAYS],
        ),
    )
    async def list_tenants(request: Request[Any, Any, Any]) -> ASGIApp:
        dormant_days = _dormant_days(request)
        # A cursor is good for the list that it was made for alone.
        name = "admin/tenants" if dormant_days is None else f"admin/tenants/dormant/{dormant_days}"
        query = parse_page(request, name, usage_grammar, cursors, leaving_out={"dormant_days"})
        page = await tenants_and_usage(query, dormant_days=dormant_days)
        return list_answer(request, name, query, page, cursors)

    return [onboard_tenant, get_tenant, list_tenants]


def _dormant_days(request: Request[Any, Any, Any]) -> int | None:
    given = [text for name, text in query_pairs(request) if name == "dormant_days"]
    try:
        if len(given) > 1:
            raise Refused("Give it once.")
        return integer(given[0], 1, _MOST_DAYS) if given else None
    except Refused as refused:
        raise bad_parameter("dormant_days", str(refused)) from None
