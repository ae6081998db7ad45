"""Counting what came past the triggers and `meter`: the rows of an archive. What its tenant asked
for elsewhere is not in it, and stays there."""

from saas import context
from saas.db.transaction import Transaction
from saas.limits import MOST
from saas.usage.folding import IN_QUARTER


async def adopt_all(work: Transaction) -> None:
    """Count all that the bound tenant has, in a transaction of the platform in which it has become
    one."""
    for statement in (_ALL_ROWS, _ALL_EVENTS):
        await work.fetch(statement, [context.principal().tenant_id])


async def adopt_events(work: Transaction) -> None:
    """Count the events that are in no figure yet, in a transaction of the tenant."""
    await work.fetch(_MISSING_EVENTS, [context.principal().tenant_id])


_ALL_ROWS = """
INSERT INTO usage_changes
  (tenant, at, entity, actor, created, updated, deleted, live, active, removed, bytes)
SELECT $1::uuid, at, entity, actor, created, updated, deleted, 0, 0, 0, 0 FROM public.usage_of_log()
UNION ALL
SELECT $1::uuid, '-infinity', entity, 'system:import', 0, 0, 0, live, active, removed, bytes
FROM public.usage_of_rows()"""

_ALL_EVENTS = """
INSERT INTO usage_meter_changes (tenant, at, meter, kind, events, quantity)
SELECT $1, at, meter, kind, events, quantity FROM public.usage_of_events()"""

# Both sides are of one snapshot, and an event is committed together with what it adds. A quarter of
# an hour holds no more than MOST, whatever its events say.
_MISSING_EVENTS = f"""
INSERT INTO usage_meter_changes (tenant, at, meter, kind, events, quantity)
SELECT $1, at, meter, kind, sum(events), least(greatest(sum(quantity), 0), {MOST})
FROM (
  SELECT {IN_QUARTER} AS at, meter, split_part(actor, ':', 1) AS kind, 1 AS events, quantity
  FROM usage_events WHERE tenant_id = $1
  UNION ALL
  SELECT at, meter, kind, -events, -quantity FROM usage_meters WHERE tenant = $1
  UNION ALL
  SELECT {IN_QUARTER}, meter, kind, -events, -quantity FROM usage_meter_changes WHERE tenant = $1
) AS told
GROUP BY at, meter, kind HAVING sum(events) > 0
ORDER BY at, meter, kind"""
