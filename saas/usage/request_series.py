"""Requests over time: how many, how many failed, how long they took, how many bytes they moved."""

import asyncio
from collections.abc import Iterable
from typing import Any

from saas.usage.buckets import Span
from saas.usage.latency import percentile
from saas.usage.series import BUCKET, Figures, figures_of, filled, read

_COUNTS = {
    "requests": "sum(requests)",
    "errors": "coalesce(sum(requests) FILTER (WHERE status >= 4), 0)",
    "bytes_in": "sum(bytes_in)",
    "bytes_out": "sum(bytes_out)",
}
_SHARES = {"latency_p50": 0.50, "latency_p95": 0.95, "latency_p99": 0.99}
_GROUPS = {"route": "route", "status": "status || 'xx'", "actor": "kind"}
REQUEST_METRICS = ("requests", "errors", *_SHARES, "bytes_in", "bytes_out")
REQUEST_GROUPS = tuple(_GROUPS)

# What is known by UTC day only counts where its middle is: in the local day that has most of it.
_MIDDLE = "at + make_interval(mins => grain / 2)"
_IN_SPAN = f"""tenant = $4 AND at >= $2::timestamptz - interval '12 hours' AND at < $3
  AND {_MIDDLE} >= $2 AND {_MIDDLE} < $3"""


async def request_figures(metric: str, span: Span, *, group_by: str | None = None) -> Figures:
    """One of REQUEST_METRICS, in all or by one of REQUEST_GROUPS: counts, bytes, or milliseconds,
    which are 0 where there was no request."""
    group = _GROUPS[group_by] if group_by else "NULL::text"
    is_grouped = group_by is not None
    if metric in _SHARES:
        rows = await read(_LATENCY.replace("{group}", group), span)
        # In a thread: a long series of many routes would hold up requests for half a second.
        return await asyncio.to_thread(
            _percentiles, rows, span, _SHARES[metric], is_grouped=is_grouped
        )
    if not is_grouped and span.is_of_days():
        sql = _OF_DAYS.replace("{metric}", metric)
    else:
        sql = _COUNTED.replace("{group}", group).replace("{value}", _COUNTS[metric])
    return figures_of(await read(sql, span), span, is_grouped=is_grouped)


def _percentiles(rows: Iterable[Any], span: Span, share: float, *, is_grouped: bool) -> Figures:
    found: dict[str | None, dict[int, float]] = {} if is_grouped else {None: {}}
    for row in rows:
        counts = dict(zip(row["buckets"], row["counts"], strict=True))
        found.setdefault(row["group"], {})[row["place"]] = percentile(counts, share)
    return filled(found, span)


_COUNTED = f"""
SELECT {BUCKET.format(at=_MIDDLE)} AS place, {{group}} AS "group", {{value}} AS value
FROM usage_requests WHERE {_IN_SPAN} GROUP BY 1, 2"""
_LATENCY = f"""
SELECT place, "group", array_agg(bucket) AS buckets, array_agg(often) AS counts
FROM (
  SELECT {BUCKET.format(at=_MIDDLE)} AS place, {{group}} AS "group",
    l.bucket, sum(l.often)::bigint AS often
  FROM usage_requests, unnest(latency_buckets, latency_counts) AS l (bucket, often)
  WHERE {_IN_SPAN} GROUP BY 1, 2, 3
) AS of_bucket GROUP BY 1, 2"""
# The same from one row a day.
_OF_DAYS = f"""
SELECT {BUCKET.format(at="day::timestamp AT TIME ZONE 'UTC'")} AS place, NULL::text AS "group",
  sum({{metric}}) AS value
FROM usage_days
WHERE tenant = $4 AND day >= ($2::timestamptz AT TIME ZONE 'UTC')::date
  AND day < ($3::timestamptz AT TIME ZONE 'UTC')::date
GROUP BY 1"""
