"""The SQL behind `all_tenants.py` and the usage columns of the list of tenants. For the platform's
role, which sees the figures of all."""

# Its SQL is made of literals of this package alone.
# ruff: noqa: S608

from saas.usage.models import ENTRANCE

USAGE_COLUMNS = (
    "requests_month",
    "errors_month",
    "rows",
    "storage_bytes",
    "growth_30d",
    "last_activity_at",
)

_TODAY = "(now() AT TIME ZONE 'UTC')::date"
_MONTH = "date_trunc('month', now() AT TIME ZONE 'UTC')::date"
_STORED = f"entity NOT IN {ENTRANCE}"
_DAY = "(at AT TIME ZONE 'UTC')::date"


def _of_one(value: str, table: str, condition: str = "true") -> str:
    return f"(SELECT {value} FROM {table} AS u WHERE u.tenant = t.id AND {condition})"


def _held(column: str, condition: str = "true") -> str:
    both = (
        _of_one(f"coalesce(sum(u.{column}), 0)", table, condition)
        for table in ("usage_totals", "usage_changes")
    )
    return f"({' + '.join(both)})::bigint"


def _asked(column: str) -> str:
    value = f"coalesce(sum(u.{column}), 0)::bigint"
    return _of_one(value, "usage_days", f"u.day >= {_MONTH}")


_GROWN = _of_one("coalesce(sum(u.grown), 0)", "usage_days", f"u.day > {_TODAY} - 30")
_GROWING = _of_one(
    "coalesce(sum(u.live), 0)", "usage_changes", f"{_STORED} AND {_DAY} > {_TODAY} - 30"
)
_CHANGED = _of_one("nullif(max(u.changed_at), '-infinity')", "usage_totals")
_CHANGING = _of_one("nullif(max(u.at), '-infinity')", "usage_changes")

OF_EACH = f"""SELECT t.*,
  {_asked("requests")} AS requests_month,
  {_asked("errors")} AS errors_month,
  {_held("live", _STORED)} AS rows,
  {_held("bytes")} AS storage_bytes,
  ({_GROWN} + {_GROWING})::bigint AS growth_30d,
  greatest({_CHANGED}, {_CHANGING}) AS last_activity_at
FROM tenants AS t"""
"""Tenants with USAGE_COLUMNS, each looked up by itself: for the few on a page, whose order does not
depend on them."""

OF_ALL = f"""SELECT t.*,
  coalesce(d.requests, 0)::bigint AS requests_month,
  coalesce(d.errors, 0)::bigint AS errors_month,
  coalesce(h.rows, 0)::bigint AS rows,
  coalesce(h.bytes, 0)::bigint AS storage_bytes,
  (coalesce(d.grown, 0) + coalesce(h.growing, 0))::bigint AS growth_30d,
  h.changed_at AS last_activity_at
FROM tenants AS t
LEFT JOIN (
  SELECT tenant, sum(requests) FILTER (WHERE day >= {_MONTH}) AS requests,
    sum(errors) FILTER (WHERE day >= {_MONTH}) AS errors,
    sum(grown) FILTER (WHERE day > {_TODAY} - 30) AS grown
  FROM usage_days WHERE day >= least({_MONTH}, {_TODAY} - 29) GROUP BY tenant
) AS d ON d.tenant = t.id
LEFT JOIN (
  SELECT tenant, sum(live) FILTER (WHERE {_STORED}) AS rows, sum(bytes) AS bytes,
    sum(growing) FILTER (WHERE {_STORED}) AS growing,
    nullif(max(changed_at), '-infinity') AS changed_at
  FROM (
    SELECT tenant, entity, live, bytes, 0 AS growing, changed_at FROM usage_totals
    UNION ALL
    SELECT tenant, entity, live, bytes, CASE WHEN {_DAY} > {_TODAY} - 30 THEN live END, at
    FROM usage_changes
  ) AS counted GROUP BY tenant
) AS h ON h.tenant = t.id"""
"""The same, added up for all tenants at once: where figures decide on the order, or on who is in
the list."""

# What is left of a tenant that is purged is no longer counted.
_OVERVIEW = f"""
WITH present AS (
  SELECT id, slug, name, status FROM tenants WHERE status <> 'deleted'
), held AS (
  SELECT c.tenant, c.entity, sum(c.live) AS live, sum(c.active) AS active,
    sum(c.removed) AS removed, sum(c.growing) AS growing
  FROM (
    SELECT tenant, entity, live, active, removed, 0 AS growing FROM usage_totals
    UNION ALL
    SELECT tenant, entity, live, active, removed, CASE WHEN {_DAY} >= {_MONTH} THEN live END
    FROM usage_changes
  ) AS c JOIN present AS p ON p.id = c.tenant GROUP BY c.tenant, c.entity
), asked AS (
  SELECT d.tenant, sum(d.requests) FILTER (WHERE d.day = {_TODAY}) AS today,
    sum(d.requests) AS month, sum(d.errors) AS errors, sum(d.grown) AS grown
  FROM usage_days AS d JOIN present AS p ON p.id = d.tenant
  WHERE d.day >= {_MONTH} GROUP BY d.tenant
), each AS (
  SELECT p.id AS tenant_id, p.slug, p.name, coalesce(a.month, 0) AS requests,
    coalesce(h.rows, 0) AS rows, coalesce(a.grown, 0) + coalesce(h.growing, 0) AS growth,
    coalesce(a.errors, 0) AS errors
  FROM present AS p
  LEFT JOIN asked AS a ON a.tenant = p.id
  LEFT JOIN (
    SELECT tenant, sum(live) AS rows, sum(growing) AS growing
    FROM held WHERE {_STORED} GROUP BY tenant
  ) AS h ON h.tenant = p.id
)
SELECT now() AS as_of,
  (SELECT json_build_object('total', count(*), 'active', count(*) FILTER (WHERE status = 'active'),
    'suspended', count(*) FILTER (WHERE status = 'suspended')) FROM present)::text AS tenants,
  (SELECT coalesce(json_object_agg(entity, json_build_object(
    'total', live, 'active', active, 'deleted', removed)), '{{}}') FROM (
      SELECT entity, sum(live) AS live, sum(active) AS active, sum(removed) AS removed
      FROM held GROUP BY entity) AS e)::text AS held,
  (SELECT json_build_object('today', coalesce(sum(today), 0), 'month', coalesce(sum(month), 0))
    FROM asked)::text AS requests,
  (SELECT coalesce(json_agg(e), '[]') FROM (
    SELECT * FROM each ORDER BY %s DESC, slug LIMIT $1) AS e)::text AS top"""


def overview(ranking: str) -> str:
    """The sums, and the $1 tenants with the most of `ranking`, a column of `each`."""
    return _OVERVIEW % ranking
