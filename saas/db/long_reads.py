"""How many of a pool's connections may be in reads that last as long as somebody takes to read."""

from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from saas.errors import Unavailable

_RETRY_SECONDS = 10


class LongReads:
    """At most half of a pool's `size` connections at once, and in one lane half of those and of the
    `lane_size` that it may have, so that neither everybody's exports leave nothing for requests,
    nor one tenant's nothing for others' or for its own."""

    def __init__(self, size: int, lane_size: int) -> None:
        self._most = max(1, size // 2)
        self._most_of_one = max(1, min(self._most, lane_size) // 2)
        self._running: Counter[Hashable] = Counter()

    @contextmanager
    def turn(self, lane: Hashable) -> Iterator[None]:
        """One more runs inside the block. Raises Unavailable where that would be too many."""
        if self._running[lane] >= self._most_of_one or self._running.total() >= self._most:
            raise Unavailable(
                "Too many exports are running. Retry when one has ended.",
                retry_after_seconds=_RETRY_SECONDS,
            )
        self._running[lane] += 1
        try:
            yield
        finally:
            self._running[lane] -= 1
            if not self._running[lane]:
                del self._running[lane]
