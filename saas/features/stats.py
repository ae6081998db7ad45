"""What a tenant has, and how much it was used today and this month."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.types import ASGIApp

from saas import context
from saas.tenancy.directory import tenant_by_id
from saas.usage.totals import RequestTotals, ResourceStats, totals_of
from saas.web.described import described
from saas.web.figures_answer import FILES, figures_answer
from saas.web.routed import AnyRequest
from saas.web.row_request import row_id


class Stats(msgspec.Struct, frozen=True):
    tenant_id: UUID
    as_of: datetime
    resources: dict[str, ResourceStats]
    members: int
    api_keys: int
    storage_bytes: int
    requests: RequestTotals
    last_activity_at: datetime | None


async def stats_of(tenant_id: UUID, resources: Sequence[str]) -> Stats:
    """In the current transaction, right also while others write."""
    totals = await totals_of(tenant_id)
    held = totals.held
    return Stats(
        tenant_id,
        totals.as_of,
        {name: held.get(name, ResourceStats()) for name in resources},
        held.get("members", ResourceStats()).total,
        held.get("api_keys", ResourceStats()).active,
        totals.bytes,
        totals.requests,
        totals.last_activity_at,
    )


def stats_handlers(resources: Sequence[str]) -> list[HTTPRouteHandler]:
    """`GET /v1/stats` over the tables of `resources`, and the same for the platform."""

    @get(
        "/v1/stats",
        **described(
            "stats.get",
            "How much the tenant has",
            permission="stats:read",
            success=200,
            body=Stats,
            gives=FILES,
        ),
    )
    async def get_stats(request: AnyRequest) -> ASGIApp:
        stats = await stats_of(context.principal().tenant_id, resources)
        return figures_answer(request, "stats", stats)

    @get(
        "/v1/admin/tenants/{id:str}/stats",
        **described(
            "admin.tenant_stats",
            "How much a tenant has",
            plane="platform",
            success=200,
            body=Stats,
            gives=FILES,
            refusals=(404,),
        ),
    )
    async def get_stats_of_tenant(id: FromPath[str], request: AnyRequest) -> ASGIApp:
        tenant = await tenant_by_id(row_id(id))
        return figures_answer(request, tenant.slug, await stats_of(tenant.id, resources))

    return [get_stats, get_stats_of_tenant]
