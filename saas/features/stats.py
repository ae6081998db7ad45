"""What a tenant has, and how much it was used today and this month."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from saas import context
from saas.usage.totals import RequestTotals, ResourceStats, totals_of
from saas.web.answer import json_answer
from saas.web.described import described


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
    """`GET /v1/stats` over the tables of `resources`."""

    @get(
        "/v1/stats",
        **described(
            "stats.get",
            "How much the tenant has",
            permission="stats:read",
            success=200,
            body=Stats,
        ),
    )
    async def get_stats() -> ASGIApp:
        return json_answer(await stats_of(context.principal().tenant_id, resources))

    return [get_stats]
