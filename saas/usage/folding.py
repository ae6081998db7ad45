"""Taking in what has changed: from `usage_changes`, where the audit triggers write it, into totals,
activity and the days' growth (docs/usage.md).

A change is taken away and added up in one statement, so each counts exactly once, whoever is killed
in between; one whose transaction is still running is not visible yet, and comes later: sums do not
depend on the order. Who reads adds what is not folded yet, so no figure waits for the fold.
"""

import hashlib

from saas.db.database import Database
from saas.db.idempotency import try_lock
from saas.db.transaction import current_transaction, platform_transaction
from saas.limits import MOST
from saas.usage.models import ENTRANCE, QUARTER

IN_QUARTER = f"date_bin('{QUARTER} minutes', at, '2000-01-01 00:00+00')"
"""SQL for the beginning of the quarter of an hour that `at` is in."""
ACTOR = "left(actor, 200)"
"""SQL for who is counted. An actor may have any length, as in an imported log, and one that no
index can hold would stop the fold of all tenants."""

_MOST = 50_000
_LOCK = int.from_bytes(hashlib.sha256(b"usage fold").digest()[:8], "big", signed=True)

# Sorted, so that it meets other writers of the same rows in one order.
_FOLD = f"""
WITH taken AS (
  DELETE FROM usage_changes AS c
  USING (SELECT tenant, id FROM usage_changes LIMIT $1) AS batch
  WHERE c.tenant = batch.tenant AND c.id = batch.id
  RETURNING c.*
), totals AS (
  INSERT INTO usage_totals AS t (tenant, entity, live, active, removed, bytes, changed_at)
  SELECT tenant, entity, sum(live), sum(active), sum(removed), sum(bytes), max(at)
  FROM taken GROUP BY tenant, entity ORDER BY tenant, entity
  ON CONFLICT (tenant, entity) DO UPDATE SET
    live = t.live + excluded.live, active = t.active + excluded.active,
    removed = t.removed + excluded.removed, bytes = t.bytes + excluded.bytes,
    changed_at = greatest(t.changed_at, excluded.changed_at)
), activity AS (
  INSERT INTO usage_activity AS a
    (tenant, at, entity, actor, created, updated, deleted, live, bytes)
  SELECT tenant, {IN_QUARTER} AS quarter, entity, {ACTOR} AS who,
    sum(created), sum(updated), sum(deleted), sum(live), sum(bytes)
  FROM taken GROUP BY tenant, quarter, entity, who
  -- What a database had when it began to count is no activity.
  HAVING sum(created + updated + deleted) > 0
  ORDER BY tenant, quarter, entity, who
  ON CONFLICT (tenant, at, entity, actor) DO UPDATE SET
    created = a.created + excluded.created, updated = a.updated + excluded.updated,
    deleted = a.deleted + excluded.deleted, live = a.live + excluded.live,
    bytes = a.bytes + excluded.bytes
), days AS (
  INSERT INTO usage_days AS d (tenant, day, requests, errors, bytes_in, bytes_out, grown)
  SELECT tenant, (at AT TIME ZONE 'UTC')::date AS day, 0, 0, 0, 0, sum(live)
  FROM taken WHERE at > '-infinity' AND entity NOT IN {ENTRANCE}
  GROUP BY tenant, day HAVING sum(live) <> 0 ORDER BY tenant, day
  ON CONFLICT (tenant, day) DO UPDATE SET grown = d.grown + excluded.grown
), meter_changes AS (
  DELETE FROM usage_meter_changes AS c
  USING (SELECT tenant, id FROM usage_meter_changes LIMIT $1) AS batch
  WHERE c.tenant = batch.tenant AND c.id = batch.id
  RETURNING c.*
), meters AS (
  INSERT INTO usage_meters AS m (tenant, at, meter, kind, events, quantity)
  -- No tenant may tell so much that nobody is counted any more.
  SELECT tenant, {IN_QUARTER} AS quarter, meter, kind,
    sum(events), least(sum(quantity), {MOST})
  FROM meter_changes GROUP BY tenant, quarter, meter, kind ORDER BY tenant, quarter, meter, kind
  ON CONFLICT (tenant, at, meter, kind) DO UPDATE SET
    events = m.events + excluded.events,
    quantity = least(m.quantity + excluded.quantity, {MOST})
)
SELECT greatest((SELECT count(*) FROM taken), (SELECT count(*) FROM meter_changes)) AS taken"""


async def hold_folding() -> None:
    """Let nobody fold until the end of the current transaction; waits for who is at it."""
    await current_transaction().fetch("SELECT pg_advisory_xact_lock($1)", [_LOCK])


async def fold(database: Database) -> int:
    """Take in all that is committed; how many changes that were. Nothing while another process is
    at it."""
    folded = 0
    while True:
        async with platform_transaction(database) as work:
            if not await try_lock(_LOCK):
                return folded
            taken: int = (await work.fetch(_FOLD, [_MOST]))[0]["taken"]
        folded += taken
        if taken < _MOST:
            return folded
