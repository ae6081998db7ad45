"""The SQL behind `meters.py`."""

from sqlalchemy import ARRAY, BigInteger, Text, Uuid, bindparam, text

from saas.db.models import table_of
from saas.db.statements import Statement, tenant_predicate
from saas.usage.folding import IN_QUARTER
from saas.usage.models import UsageEvent

_events = table_of(UsageEvent)
_TENANT, _GIVEN = bindparam("tenant_id", type_=Uuid()), bindparam("given", type_=Text())

# Sorted, so that two batches with the same keys insert them in one order. The change is of what was
# inserted here: a key that is there already adds nothing.
COUNT = Statement(
    text(f"""
WITH counted AS (
  INSERT INTO usage_events (tenant_id, meter, key, quantity, at, actor, data)
  SELECT :tenant_id, meter, key, quantity, coalesce(at, now()), :actor, data
  FROM jsonb_to_recordset(CAST(:given AS jsonb)) AS given (
    meter text, key text, quantity bigint, at timestamptz, data jsonb)
  ORDER BY meter, key
  ON CONFLICT (tenant_id, meter, key) DO NOTHING
  RETURNING meter, at, quantity
), changed AS (
  INSERT INTO usage_meter_changes (tenant, at, meter, kind, events, quantity)
  SELECT :tenant_id, {IN_QUARTER} AS quarter, meter, :kind,
    count(*), sum(quantity)
  FROM counted GROUP BY quarter, meter
)
SELECT count(*) AS counted FROM counted""").bindparams(
        _TENANT, _GIVEN, bindparam("actor", type_=Text()), bindparam("kind", type_=Text())
    )
)

# In the order of the array.
LOCK = Statement(
    text("SELECT pg_advisory_xact_lock(number) FROM unnest(:numbers) AS number").bindparams(
        bindparam("numbers", type_=ARRAY(BigInteger()))
    )
)

# What each meter would come to in each month in which it is to count more.
# unscoped: tenant_predicate is in the text
WANTED = Statement(
    text(f"""
WITH wanted AS (
  SELECT meter, date_trunc('month', coalesce(at, now()), 'UTC') AS month, sum(quantity) AS quantity
  FROM jsonb_to_recordset(CAST(:given AS jsonb)) AS given (
    meter text, key text, quantity bigint, at timestamptz)
  WHERE NOT EXISTS (
    SELECT FROM usage_events
    WHERE {tenant_predicate(_events)}
      AND usage_events.meter = given.meter AND usage_events.key = given.key)
  GROUP BY 1, 2
)
SELECT wanted.meter, wanted.quantity + coalesce((
  SELECT sum(had.quantity)
  FROM (
    SELECT at, meter, quantity FROM usage_meters WHERE tenant = :tenant_id
    UNION ALL
    SELECT at, meter, quantity FROM usage_meter_changes WHERE tenant = :tenant_id
  ) AS had
  WHERE had.meter = wanted.meter
    AND had.at >= month AND had.at < date_add(month, interval '1 month', 'UTC')), 0) AS total
FROM wanted ORDER BY wanted.meter, month""").bindparams(_TENANT, _GIVEN)
)
