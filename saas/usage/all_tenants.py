"""What every tenant uses, for the platform: as columns beside its row, and summed. Figures that are
not folded yet are added in the same statement, so all are of one moment.

Without the tables of ENTRANCE, rows are what the product stores; the month and days are UTC's.
"""

from datetime import datetime
from typing import Any, Literal

import msgspec

from saas.db.transaction import current_transaction
from saas.usage.all_statements import overview
from saas.usage.totals import RequestTotals, ResourceStats

Ranking = Literal["requests", "rows", "growth", "errors"]


class TenantCounts(msgspec.Struct, frozen=True):
    """How many are not deleted for good; those in their grace period are in `total` alone."""

    total: int
    active: int
    suspended: int


class TopTenant(msgspec.Struct, frozen=True):
    """What a tenant uses: live rows now, all else this month."""

    tenant_id: str
    slug: str
    name: str
    requests: int
    rows: int
    growth: int
    errors: int


class Overview(msgspec.Struct, frozen=True):
    """Of all tenants together, and of those with the most."""

    as_of: datetime
    tenants: TenantCounts
    held: dict[str, ResourceStats]
    requests: RequestTotals
    top: list[TopTenant]


async def overview_by(ranking: Ranking, most: int) -> Overview:
    """In the current transaction of the platform; `most` tenants in the order of `ranking`."""
    row = (await current_transaction().fetch(overview(ranking), [most]))[0]

    def read(name: str, kind: Any) -> Any:
        return msgspec.json.decode(row[name], type=kind)

    return Overview(
        as_of=row["as_of"],
        tenants=read("tenants", TenantCounts),
        held=read("held", dict[str, ResourceStats]),
        requests=read("requests", RequestTotals),
        top=read("top", list[TopTenant]),
    )
