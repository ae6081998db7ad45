"""What a tenant has now: what is folded and what is not yet, in one statement and so in one
snapshot. It reads some ten rows, however many the tenant has."""

from datetime import datetime
from uuid import UUID

import msgspec

from saas.db.transaction import current_transaction


class ResourceStats(msgspec.Struct, frozen=True):
    """Of one table: `total` counts live rows, `active` those of them with is_active, or all without
    it, `deleted` those that can be restored."""

    total: int = 0
    active: int = 0
    deleted: int = 0


class RequestTotals(msgspec.Struct, frozen=True):
    """In UTC."""

    today: int
    month: int


class Totals(msgspec.Struct, frozen=True):
    """`bytes` is the size of all rows, deleted ones too, of the tables that are audited."""

    as_of: datetime
    held: dict[str, ResourceStats]
    bytes: int
    requests: RequestTotals
    last_activity_at: datetime | None


async def totals_of(tenant_id: UUID) -> Totals:
    """In the current transaction, of the tenant itself or of the platform."""
    rows = await current_transaction().fetch(_TOTALS, [tenant_id])
    held = {
        row["entity"]: ResourceStats(row["live"], row["active"], row["removed"]) for row in rows
    }
    return Totals(
        as_of=rows[0]["as_of"],
        held={name: of for name, of in held.items() if name is not None},
        bytes=sum(row["bytes"] or 0 for row in rows),
        requests=RequestTotals(rows[0]["today"], rows[0]["month"]),
        last_activity_at=max(filter(None, (row["changed_at"] for row in rows)), default=None),
    )


_TOTALS = """
WITH held AS (
  SELECT entity, sum(live)::bigint AS live, sum(active)::bigint AS active,
    sum(removed)::bigint AS removed, sum(bytes)::bigint AS bytes,
    nullif(max(changed_at), '-infinity') AS changed_at
  FROM (
    SELECT entity, live, active, removed, bytes, changed_at
    FROM usage_totals WHERE tenant = $1
    UNION ALL
    SELECT entity, live, active, removed, bytes, at FROM usage_changes WHERE tenant = $1
  ) AS counted GROUP BY entity
), asked AS (
  SELECT
    coalesce(sum(requests) FILTER (WHERE day = (now() AT TIME ZONE 'UTC')::date), 0)::bigint
      AS today,
    coalesce(sum(requests), 0)::bigint AS month
  FROM usage_days
  WHERE tenant = $1 AND day >= date_trunc('month', now() AT TIME ZONE 'UTC')::date
)
SELECT held.*, asked.*, now() AS as_of FROM asked LEFT JOIN held ON true"""
