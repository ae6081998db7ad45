"""The platform plane: what all tenants have and use, and who uses most."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, get_args

import msgspec
from litestar import get
from litestar.connection import Request
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from saas.db.query import bad_parameter
from saas.db.query_values import Refused, integer
from saas.usage.all_tenants import Ranking, TenantCounts, TopTenant, overview_by
from saas.usage.totals import RequestTotals, ResourceStats
from saas.web.described import described, query_parameter
from saas.web.figures_answer import FILES, figures_answer
from saas.web.pages import query_pairs
from saas.web.series_request import wanted_choice

_RANKINGS: tuple[Ranking, ...] = get_args(Ranking)
_MOST = 100
_PARAMETERS = (
    query_parameter(
        "by",
        {"type": "string", "enum": list(_RANKINGS), "default": _RANKINGS[0]},
        "What `top` is ordered by: this month's requests, growth of rows and errors, or live rows.",
    ),
    query_parameter(
        "limit",
        {"type": "integer", "minimum": 1, "maximum": _MOST, "default": 10},
        "How many tenants `top` has.",
    ),
)


class PlatformStats(msgspec.Struct, frozen=True):
    """All of one moment: the figures of the tenants add up to those of the platform."""

    as_of: datetime
    tenants: TenantCounts
    resources: dict[str, ResourceStats]
    requests: RequestTotals
    top: list[TopTenant]


def platform_stats_handlers(resources: Sequence[str]) -> list[HTTPRouteHandler]:
    """`GET /v1/admin/stats` over the tables of `resources`."""

    @get(
        "/v1/admin/stats",
        **described(
            "admin.stats",
            "What all tenants have and use",
            plane="platform",
            success=200,
            body=PlatformStats,
            gives=FILES,
            refusals=(400,),
            parameters=_PARAMETERS,
        ),
    )
    async def get_platform_stats(request: Request[Any, Any, Any]) -> ASGIApp:
        ranking, most = _asked(dict(query_pairs(request)))
        found = await overview_by(ranking, most)
        held = {name: found.held.get(name, ResourceStats()) for name in resources}
        stats = PlatformStats(found.as_of, found.tenants, held, found.requests, found.top)
        return figures_answer(request, "stats", stats)

    return [get_platform_stats]


def _asked(given: dict[str, str]) -> tuple[Ranking, int]:
    ranking: Ranking = wanted_choice(given, "by", _RANKINGS) or _RANKINGS[0]
    try:
        return ranking, integer(given.get("limit", "10"), 1, _MOST)
    except Refused as refused:
        raise bad_parameter("limit", str(refused)) from None
