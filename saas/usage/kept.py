"""How long a tenant's figures are kept, as SQL: by the limits of its plan and its own
(`saas/limits.py`). Whole days in UTC, so that what is put together is complete."""

# Its SQL is made of literals of this package alone.
# ruff: noqa: S608

_LIMITS = """p.limits || CASE WHEN jsonb_typeof(t.limit_overrides) = 'object'
      THEN t.limit_overrides ELSE '{}' END"""
_SINCE = (
    "(date_trunc('day', now() AT TIME ZONE 'UTC') - make_interval(days => (limits ->> "
    "'{limit}')::integer)) AT TIME ZONE 'UTC'"
)

KEPT = f"""SELECT tenant,
    {_SINCE.format(limit="usage_minutes_days")} AS minutes_since,
    {_SINCE.format(limit="usage_hours_days")} AS hours_since,
    {_SINCE.format(limit="usage_days_days")} AS days_since
  FROM (
    SELECT t.id AS tenant, {_LIMITS} AS limits
    FROM tenants AS t JOIN plans AS p ON p.slug = t.plan
  ) AS limited"""
"""A query: from when on each tenant's minutes, quarter hours and days are kept; null is for ever.
For the platform's role."""
