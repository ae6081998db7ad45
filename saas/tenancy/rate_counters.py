"""Where the rate limiter counts: buckets of GCRA (generic cell rate algorithm), in this process."""

from typing import NamedTuple, Protocol

from throttled.rate_limiter import RateLimitResult, per_sec
from throttled.rate_limiter.gcra import GCRARateLimiter
from throttled.store import MemoryStore

# A key that was pushed out begins anew, full. None is of interest for more than the two seconds
# after its last use, in which no process serves so many different callers; 1,024 by default.
_MOST_KEYS = 100_000
# The kinds of buckets follow from the limits of plans, which are few.
_MOST_KINDS = 1_000


class Bucket(NamedTuple):
    """`burst` requests at once, and `per_second` of them come back each second."""

    per_second: int
    burst: int


class Counters(Protocol):
    async def take(self, bucket: Bucket, key: str) -> RateLimitResult:
        """One request of `key`, or its refusal, which costs nothing. Buckets of one rate that share
        a key see the same requests, each with a burst of its own."""

    async def close(self) -> None: ...


class OwnCounters:
    """Counts for this process alone."""

    def __init__(self) -> None:
        self._store = MemoryStore(options={"MAX_SIZE": _MOST_KEYS})
        self._limiters: dict[Bucket, GCRARateLimiter] = {}

    async def take(self, bucket: Bucket, key: str) -> RateLimitResult:
        limiter = self._limiters.get(bucket)
        if limiter is None:
            if len(self._limiters) >= _MOST_KINDS:
                self._limiters.clear()
            quota = per_sec(bucket.per_second, burst=bucket.burst)
            limiter = self._limiters[bucket] = GCRARateLimiter(quota, self._store)
        return limiter.limit(key)

    async def close(self) -> None:
        """There is nothing to close."""
