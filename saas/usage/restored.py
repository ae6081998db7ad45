"""Figures of what an archive has brought: its rows come past the triggers that count."""

# Its SQL is made of literals of this package alone.
# ruff: noqa: S608

from saas import context
from saas.db.transaction import current_transaction
from saas.usage.comparison import correction
from saas.usage.figures import FIGURES
from saas.usage.folding import IN_QUARTER

# One after the other: each has a statement's time for all rows of its kind.
_FROM_ROWS = [correction([of]) for of in FIGURES if of.name != "days"]

# Both sides of the difference are of one moment, and who adds an event adds its change with it.
_FROM_EVENTS = f"""
INSERT INTO usage_meter_changes (tenant, at, meter, kind, events, quantity)
SELECT $1, at, meter, kind, sum(events), sum(quantity)
FROM (
  SELECT {IN_QUARTER} AS at, meter, split_part(actor, ':', 1) AS kind, 1 AS events, quantity
  FROM usage_events WHERE tenant_id = $1
  UNION ALL
  SELECT at, meter, kind, -events, -quantity FROM usage_meters WHERE tenant = $1
  UNION ALL
  SELECT {IN_QUARTER}, meter, kind, -events, -quantity FROM usage_meter_changes WHERE tenant = $1
) AS missing
GROUP BY at, meter, kind HAVING sum(events) <> 0 OR sum(quantity) <> 0"""


async def count_restored() -> None:
    """Make all figures but requests of the bound tenant, which is new: in the transaction of the
    platform that has restored its rows."""
    for statement in _FROM_ROWS:
        await current_transaction().fetch(statement, [context.principal().tenant_id])


async def count_merged() -> None:
    """Count the events that the bound tenant has got in the current transaction of the app. Rows
    are counted by their triggers."""
    await current_transaction().fetch(_FROM_EVENTS, [context.principal().tenant_id])
