"""What a tenant has, what was done in it and what its meters say, counted anew from its rows, log
and events: the truth that the figures in `saas/usage/models.py` must come to. Migrations hold this
text literally.

For the platform's role, which may read none of them: they tell numbers alone, of the bound tenant.
They are STABLE, so they see what the statement sees that calls them.
"""

from saas.db.audit_parts import BYTES
from saas.db.definer_functions import DefinerFunction
from saas.db.roles import PLATFORM
from saas.limits import MOST

_BOUND = "bound uuid := nullif(current_setting('app.tenant_id', true), '')::uuid"

# unscoped: tenant_id is the bound one
_OF_ROWS = f"""DECLARE
  {_BOUND};
  relation record;
BEGIN
  FOR relation IN
    SELECT c.relname AS name,
      CASE WHEN bool_or(a.attname = 'deleted_at')
        THEN 'deleted_at IS NULL' ELSE 'true' END AS live,
      concat('true', max(' AND is_active IS NOT FALSE')
          FILTER (WHERE a.attname = 'is_active' AND a.atttypid = 'boolean'::regtype),
        max(' AND revoked_at IS NULL') FILTER (WHERE a.attname = 'revoked_at')) AS active
    FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
    WHERE c.relnamespace = 'public'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped
      AND EXISTS (
        SELECT FROM pg_trigger AS t
        WHERE t.tgrelid = c.oid AND t.tgfoid = 'public.audit_row()'::regprocedure)
    GROUP BY c.relname
    HAVING bool_or(a.attname = 'tenant_id')
  LOOP
    RETURN QUERY EXECUTE format($sql$
      SELECT $2, count(*) FILTER (WHERE %2$s), count(*) FILTER (WHERE %2$s AND %3$s),
        count(*) FILTER (WHERE NOT %2$s), sum({BYTES.format("sent")})::bigint
      FROM (SELECT r.*, record_send(r.*) AS sent FROM public.%1$I AS r
            WHERE r.tenant_id = $1 OFFSET 0) AS r
      HAVING count(*) > 0$sql$, relation.name, relation.live, relation.active)
      USING bound, relation.name::text;
  END LOOP;
END"""

# unscoped: tenant_id is the bound one
_OF_LOG = f"""DECLARE
  {_BOUND};
BEGIN
  RETURN QUERY
    SELECT date_bin('15 minutes', a.at, '2000-01-01 00:00+00'), a.entity, a.actor,
      coalesce(sum(a.entries) FILTER (WHERE a.action = 'insert'), 0),
      coalesce(sum(a.entries) FILTER (WHERE a.action IN ('update', 'restore')), 0),
      coalesce(sum(a.entries) FILTER (WHERE a.action IN ('delete', 'soft_delete')), 0)
    FROM (
      SELECT l.at, l.entity, l.actor, l.action, 1 AS entries
      FROM public.audit_log AS l
      WHERE l.tenant_id = bound AND l.entity <> 'tenants'
      UNION ALL
      SELECT s.at, s.entity, s.actor, s.action, s.size
      FROM public.audit_sets AS s
      WHERE s.tenant_id = bound) AS a
    GROUP BY 1, 2, 3;
END"""

# unscoped: tenant_id is the bound one
_OF_EVENTS = f"""DECLARE
  {_BOUND};
BEGIN
  RETURN QUERY
    SELECT date_bin('15 minutes', e.at, '2000-01-01 00:00+00'), e.meter::text,
      split_part(e.actor, ':', 1), count(*), least(sum(e.quantity), {MOST})::bigint
    FROM public.usage_events AS e
    WHERE e.tenant_id = bound
    GROUP BY 1, 2, 3;
END"""

USAGE_FUNCTIONS = (
    DefinerFunction(
        "usage_of_rows",
        _OF_ROWS,
        returns="TABLE(entity text, live bigint, active bigint, removed bigint, bytes bigint)",
        executors=(PLATFORM,),
        is_stable=True,
    ),
    DefinerFunction(
        "usage_of_log",
        _OF_LOG,
        returns="TABLE(at timestamp with time zone, entity text, actor text, created bigint, "
        "updated bigint, deleted bigint)",
        executors=(PLATFORM,),
        is_stable=True,
    ),
    DefinerFunction(
        "usage_of_events",
        _OF_EVENTS,
        returns="TABLE(at timestamp with time zone, meter text, kind text, events bigint, "
        "quantity bigint)",
        executors=(PLATFORM,),
        is_stable=True,
    ),
)
