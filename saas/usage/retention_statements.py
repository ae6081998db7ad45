"""The SQL behind `retention.py`: each statement takes at most $1 rows away, and tells how many as
`taken`. For the platform's role."""

# Its SQL is made of literals of this package and names of its tables alone.
# ruff: noqa: S608

import hashlib

from sqlalchemy import Table

from saas.usage.folding import IN_QUARTER
from saas.usage.kept import KEPT
from saas.usage.models import DAY, QUARTER

KEEPING = int.from_bytes(hashlib.sha256(b"usage retention").digest()[:8], "big", signed=True)
"""The lock of who takes old rows away, until the end of the transaction."""

_KEY = ("tenant", "at", "grain", "route", "status", "kind")
_INTO = {
    QUARTER: ("minutes_since", IN_QUARTER),
    DAY: ("hours_since", "date_trunc('day', at, 'UTC')"),
}
# Who never waits for a writer cannot be in a deadlock with one: the row comes next time.
_NOT_IN_USE = "FOR UPDATE OF r SKIP LOCKED"
_LIKE = "tenant, start, route, status, kind"


def put_together(grain: int, into: int) -> str:
    """Requests of `grain` minutes that are old enough, as those of `into` minutes."""
    since, start = _INTO[into]
    return f"""
WITH {_old("usage_requests", _KEY, f"r.at < k.{since} AND r.grain = {grain}")},
{_taken("usage_requests", _KEY)}, moved AS (
  SELECT *, {start} AS start FROM taken
), latencies AS (
  SELECT {_LIKE}, array_agg(bucket) AS buckets, array_agg(often) AS counts
  FROM (
    SELECT {_LIKE}, bucket, sum(often)::bigint AS often
    FROM moved CROSS JOIN LATERAL unnest(latency_buckets, latency_counts) AS l (bucket, often)
    GROUP BY {_LIKE}, bucket
  ) AS of_bucket GROUP BY {_LIKE}
), sums AS (
  SELECT {_LIKE}, sum(requests)::bigint AS requests, sum(bytes_in)::bigint AS bytes_in,
    sum(bytes_out)::bigint AS bytes_out
  FROM moved GROUP BY {_LIKE}
), added AS (
  INSERT INTO usage_requests AS u
    (tenant, at, grain, route, status, kind, requests, bytes_in, bytes_out,
     latency_buckets, latency_counts)
  SELECT tenant, start, {into}, route, status, kind, requests, bytes_in, bytes_out,
    coalesce(buckets, '{{}}'), coalesce(counts, '{{}}')
  FROM sums LEFT JOIN latencies USING ({_LIKE})
  ORDER BY {_LIKE}
  ON CONFLICT ({", ".join(_KEY)}) DO UPDATE SET
    requests = u.requests + excluded.requests, bytes_in = u.bytes_in + excluded.bytes_in,
    bytes_out = u.bytes_out + excluded.bytes_out,
    -- Each bucket once, so that the row does not grow with every batch.
    (latency_buckets, latency_counts) = (
      SELECT coalesce(array_agg(bucket), '{{}}'), coalesce(array_agg(often), '{{}}')
      FROM (
        SELECT bucket, sum(often)::bigint AS often
        FROM unnest(u.latency_buckets || excluded.latency_buckets,
          u.latency_counts || excluded.latency_counts) AS l (bucket, often)
        GROUP BY bucket
      ) AS of_bucket)
)
SELECT count(*) AS taken FROM taken"""


def dropped(table: Table, column: str, *, unless: str | None = None) -> str:
    """Rows of days that are kept no longer, but for those from `unless` on: a time, as SQL."""
    # Two conditions and no `least`, which would take the null of "for ever" for nothing.
    since = ["k.days_since", *([unless] if unless else [])]
    if column == "day":
        since = [f"({at} AT TIME ZONE 'UTC')::date" for at in since]
    key = tuple(table.primary_key.columns.keys())
    return f"""
WITH {_old(table.name, key, " AND ".join(f"r.{column} < {at}" for at in since))},
{_taken(table.name, key)}
SELECT count(*) AS taken FROM taken"""


def swept(table: Table) -> str:
    """Rows about tenants that are deleted for good: a process that wrote late has left them."""
    key = tuple(table.primary_key.columns.keys())
    return f"""
WITH old AS (
  SELECT {_names("r", key)} FROM tenants AS t JOIN {table.name} AS r ON r.tenant = t.id
  WHERE t.status = 'deleted' LIMIT $1 {_NOT_IN_USE}
),
{_taken(table.name, key)}
SELECT count(*) AS taken FROM taken"""


def _old(table: str, key: tuple[str, ...], condition: str) -> str:
    """Tenant by tenant, so that who keeps much costs the others nothing."""
    return f"""kept AS ({KEPT}), old AS (
  SELECT o.* FROM kept AS k CROSS JOIN LATERAL (
    SELECT {_names("r", key)} FROM {table} AS r
    WHERE r.tenant = k.tenant AND {condition} LIMIT $1 {_NOT_IN_USE}
  ) AS o LIMIT $1
)"""


def _taken(table: str, key: tuple[str, ...]) -> str:
    return f"""taken AS (
  DELETE FROM {table} AS f USING old WHERE ({_names("f", key)}) = ({_names("old", key)})
  RETURNING f.*
)"""


def _names(of: str, columns: tuple[str, ...]) -> str:
    return ", ".join(f"{of}.{column}" for column in columns)
