"""The SQL behind `request_meter.py`."""

import hashlib

WRITING = int.from_bytes(hashlib.sha256(b"usage writing").digest()[:8], "big", signed=True)
"""The lock that all share who write counts, until the end of their transaction."""
SHARE_WRITING = "SELECT pg_advisory_xact_lock_shared($1)"

# One write of one process: nothing where it has arrived before. A tenant that is purged must not
# get a row back. Sorted, so that processes which write the same rows do so in one order.
WRITE = """
WITH writer AS (
  INSERT INTO usage_writers AS w (id, writes, at) VALUES ($1, $2, now())
  ON CONFLICT (id) DO UPDATE SET writes = excluded.writes, at = excluded.at
    WHERE w.writes < excluded.writes
  RETURNING id
), given AS (
  SELECT r.*, to_timestamp(r.minute * 60) AS at
  FROM writer, jsonb_to_recordset($3::text::jsonb) AS r (
    tenant uuid, minute bigint, route text, status smallint, kind text, requests bigint,
    bytes_in bigint, bytes_out bigint, latency_buckets smallint[], latency_counts bigint[])
  JOIN tenants AS t ON t.id = r.tenant
    AND t.status <> 'deleted' AND NOT coalesce(t.deletion ? 'started_at', false)
), days AS (
  INSERT INTO usage_days AS d (tenant, day, requests, errors, bytes_in, bytes_out)
  SELECT tenant, (at AT TIME ZONE 'UTC')::date AS day, sum(requests),
    coalesce(sum(requests) FILTER (WHERE status >= 4), 0), sum(bytes_in), sum(bytes_out)
  FROM given GROUP BY tenant, day ORDER BY tenant, day
  ON CONFLICT (tenant, day) DO UPDATE SET
    requests = d.requests + excluded.requests, errors = d.errors + excluded.errors,
    bytes_in = d.bytes_in + excluded.bytes_in, bytes_out = d.bytes_out + excluded.bytes_out
)
INSERT INTO usage_requests AS u
  (tenant, at, grain, route, status, kind, requests, bytes_in, bytes_out,
   latency_buckets, latency_counts)
SELECT tenant, at, 1, route, status, kind, requests, bytes_in, bytes_out,
  latency_buckets, latency_counts
FROM given ORDER BY tenant, at, route, status, kind
ON CONFLICT (tenant, at, grain, route, status, kind) DO UPDATE SET
  requests = u.requests + excluded.requests, bytes_in = u.bytes_in + excluded.bytes_in,
  bytes_out = u.bytes_out + excluded.bytes_out,
  latency_buckets = u.latency_buckets || excluded.latency_buckets,
  latency_counts = u.latency_counts || excluded.latency_counts"""

# Whoever has not written for a day has ended.
FORGET_WRITERS = "DELETE FROM usage_writers WHERE at < now() - interval '1 day'"
