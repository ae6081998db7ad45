"""Who holds how many of a pool's connections and who waits for one: a lane for each tenant, so that
the flood of one is a queue of its own and not everybody's."""

import asyncio
import time
from collections.abc import Callable, Hashable
from typing import Generic, NamedTuple, TypeVar

from saas.errors import TooManyAtOnce

Thing = TypeVar("Thing")

LOOK_UPS = "look-ups"
"""The lane of credentials that are looked up: what one claims of a tenant is not proved yet, so it
must take nothing from that tenant, and invented ones must not take all from everybody."""

IMPORTS = "imports"
"""The lane of what is told of imports while their rows hold the last connection of their tenant."""

# No tenant has less because of them.
_OF_NO_TENANT = frozenset({None, LOOK_UPS, IMPORTS})
# Each waiting request holds memory, and a place among those that the server takes at once.
_MOST_WAITING = 1_000
# A tenant that was here so lately counts as at work: it may be between two of its requests.
_LATELY_SECONDS = 2.0


class LaneSizes(NamedTuple):
    """How many things one lane has at most: while it is alone, and while others are at work."""

    alone: int
    among_others: int


class Lanes(Generic[Thing]):
    """Without `sizes` no lane has a bound. What comes free goes to the lanes in turn, so that who
    asks seldom waits for one thing and not for a whole queue."""

    def __init__(
        self, sizes: LaneSizes | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._sizes = sizes
        self._clock = clock
        self._out: dict[Hashable, int] = {}
        # Dictionaries as ordered sets. The first lane is the next in turn.
        self._waiting: dict[Hashable, dict[asyncio.Future[Thing], None]] = {}
        # The tenant that came last and when, and when another one than it came.
        self._last: Hashable = None
        self._last_at = self._other_at = -_LATELY_SECONDS

    def has_room(self, lane: Hashable) -> bool:
        sizes = self._sizes
        if sizes is None:
            return True
        out = self._out.get(lane, 0)
        if out < sizes.among_others:
            return True
        return out < sizes.alone and self._is_alone(lane)

    def enter(self, lane: Hashable) -> None:
        """One more thing is out in `lane`."""
        self._out[lane] = self._out.get(lane, 0) + 1
        if lane not in _OF_NO_TENANT:
            if lane != self._last:
                self._last, self._other_at = lane, self._last_at
            self._last_at = self._clock()

    def leave(self, lane: Hashable) -> None:
        """One less is."""
        left = self._out.pop(lane) - 1
        if left:
            self._out[lane] = left

    def is_waited_in(self, lane: Hashable) -> bool:
        """Whether who comes to `lane` now would pass somebody."""
        return lane in self._waiting

    def line_up(self, lane: Hashable) -> "asyncio.Future[Thing]":
        """A place behind the others of `lane`, for `next_in_turn`; `step_out` must follow. Raises
        TooManyAtOnce where lanes are bounded and 1,000 stand there already."""
        line = self._waiting.setdefault(lane, {})
        if self._sizes is not None and len(line) >= _MOST_WAITING:
            raise TooManyAtOnce
        waiter: asyncio.Future[Thing] = asyncio.get_running_loop().create_future()
        line[waiter] = None
        return waiter

    def step_out(self, lane: Hashable, waiter: "asyncio.Future[Thing]") -> None:
        """Leave the line, served or not."""
        line = self._waiting.get(lane, {})
        line.pop(waiter, None)
        if not line:
            self._waiting.pop(lane, None)

    def next_in_turn(self) -> "tuple[Hashable, asyncio.Future[Thing]] | None":
        """Who waits longest in the next lane that has room, and that lane, entered for it."""
        for lane, line in self._waiting.items():
            waiter = next((one for one in line if not one.done()), None)
            if waiter is not None and self.has_room(lane):
                # To the end: the next turn is another lane's.
                self._waiting[lane] = self._waiting.pop(lane)
                self.enter(lane)
                return lane, waiter
        return None

    def waiting(self) -> "list[asyncio.Future[Thing]]":
        """All that wait."""
        return [waiter for line in self._waiting.values() for waiter in line]

    def _is_alone(self, lane: Hashable) -> bool:
        """Whether no other tenant has or wants anything, or was here lately."""
        others = {*self._out, *self._waiting} - {lane} - _OF_NO_TENANT
        if others or lane in (LOOK_UPS, IMPORTS):
            return False
        other_at = self._other_at if lane == self._last else self._last_at
        return other_at <= self._clock() - _LATELY_SECONDS
