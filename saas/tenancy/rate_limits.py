"""How many requests a second a tenant may send, and how its callers share them.

The tenant has one bucket for all of its callers: `per_second` requests a second. Each caller has a
share of half of them, and may take more as long as the tenant's bucket holds more than a reserve.
So one caller alone has the whole rate, and one that floods leaves the reserve to the others.
"""

import math
from functools import lru_cache
from typing import NamedTuple

from saas.tenancy.rate_counters import Bucket, Counters, Taken

Header = tuple[bytes, bytes]


class Standing(NamedTuple):
    """What became of a request: `retry_after` is in seconds, 0 for one that is served; `headers`
    are RateLimit-Policy and RateLimit of draft-ietf-httpapi-ratelimit-headers-10."""

    headers: tuple[Header, Header]
    retry_after: int


class RateLimits:
    """Counts the requests of tenants' callers."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    async def take(self, tenant: str, caller: str, per_second: int) -> Standing:
        """One request of `caller`, who is a caller of `tenant` by a credential that was checked."""
        buckets = _buckets(per_second)
        own = await self._counters.take(buckets.share, f"{tenant}:{caller}")
        is_beyond_share = own.limited
        bucket = buckets.above_reserve if is_beyond_share else buckets.whole
        found = await self._counters.take(bucket, tenant)
        left = _left(own, found, buckets)
        state = b'"requests";r=%d;t=%d' % (left, math.ceil(found.reset_after))
        headers = buckets.policy, (b"ratelimit", state)
        if not found.limited:
            return Standing(headers, 0)
        seconds = found.retry_after
        if is_beyond_share:
            seconds = min(seconds, own.retry_after)
        return Standing(headers, max(1, math.ceil(seconds)))


class _Buckets(NamedTuple):
    """`whole` and `above_reserve` are one bucket, seen to its bottom and down to the reserve."""

    share: Bucket
    whole: Bucket
    above_reserve: Bucket
    policy: Header


@lru_cache(maxsize=1_000)
def _buckets(per_second: int) -> _Buckets:
    share, reserve = math.ceil(per_second / 2), max(1, per_second // 4)
    policy = b'"requests";q=%d;w=1' % per_second
    return _Buckets(
        share=Bucket(share, share),
        whole=Bucket(per_second, per_second + reserve),
        above_reserve=Bucket(per_second, per_second),
        policy=(b"ratelimit-policy", policy),
    )


def _left(own: Taken, found: Taken, buckets: _Buckets) -> int:
    """How many more requests the caller could send now, if nobody else did."""
    left = found.remaining
    if own.limited:
        return left
    reserve = buckets.whole.burst - buckets.above_reserve.burst
    return max(min(own.remaining, left), left - reserve)
