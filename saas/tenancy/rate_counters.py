"""Where the rate limiter counts: buckets of GCRA, the generic cell rate algorithm (ITU-T I.371), in
this process."""

import math
from time import monotonic
from typing import NamedTuple, Protocol

# A key that is forgotten begins anew, full. None is of interest for more than two seconds after its
# last use, in which no process serves so many different callers.
_MOST_KEYS = 100_000
# What sums of fractions may be off by.
_ALMOST = 1e-6


class Bucket(NamedTuple):
    """`burst` requests at once, and `per_second` of them come back each second."""

    per_second: int
    burst: int


class Taken(NamedTuple):
    """What became of a request: how many more would be served now, and in how many seconds the
    bucket is full again and, for one that is `limited`, another would be served."""

    limited: bool
    remaining: int
    reset_after: float
    retry_after: float


class Counters(Protocol):
    async def take(self, bucket: Bucket, key: str) -> Taken:
        """One request of `key`, or its refusal, which costs nothing. Buckets of one rate that share
        a key see the same requests, each with a burst of its own."""

    async def close(self) -> None: ...


class OwnCounters:
    """Counts for this process alone."""

    def __init__(self) -> None:
        # When the bucket of a key would be full, had it a burst of none: its theoretical arrival
        # time in the words of the algorithm.
        self._full_at: dict[str, float] = {}

    async def take(self, bucket: Bucket, key: str) -> Taken:
        now = monotonic()
        ahead = max(0.0, self._full_at.get(key, now) - now)
        used = math.ceil(ahead * bucket.per_second - _ALMOST)
        if used >= bucket.burst:
            wait = ahead - (bucket.burst - 1) / bucket.per_second
            return Taken(limited=True, remaining=0, reset_after=ahead, retry_after=wait)
        if len(self._full_at) >= _MOST_KEYS:
            self._forget(now)
        ahead += 1 / bucket.per_second
        self._full_at[key] = now + ahead
        left = bucket.burst - used - 1
        return Taken(limited=False, remaining=left, reset_after=ahead, retry_after=0.0)

    async def close(self) -> None:
        """There is nothing to close."""

    def _forget(self, now: float) -> None:
        """Those that are full; all of them, where that is less than half: once is dear enough."""
        self._full_at = {key: at for key, at in self._full_at.items() if at > now}
        if len(self._full_at) > _MOST_KEYS // 2:
            self._full_at.clear()
