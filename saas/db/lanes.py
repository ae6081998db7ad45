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
# Who has a thing for longer than this is at something slow, and does not go on to the next one.
_BRIEF_SECONDS = 0.2
# A tenant that was here so lately counts as at work: it may be between two of its requests.
_LATELY_SECONDS = 2.0


class LaneSizes(NamedTuple):
    """How many things one lane has at most: while it is alone, and while others are at work. Of a
    tenant that floods only half of the latter are at work in any moment, `brief`; the other half is
    for when slow work holds those."""

    alone: int
    among_others: int

    @property
    def brief(self) -> int:
        return (self.among_others + 1) // 2


class Place(NamedTuple):
    """That of one thing which is out."""

    lane: Hashable
    since: float


class Lanes(Generic[Thing]):
    """Without `sizes` no lane has a bound. What comes free goes to the lanes in turn, so that who
    asks seldom waits for one thing and not for a whole queue."""

    def __init__(
        self, sizes: LaneSizes | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._sizes = sizes
        self._clock = clock
        # Since when the things of each lane are out.
        self._out: dict[Hashable, list[float]] = {}
        # Dictionaries as ordered sets. The first lane is the next in turn.
        self._waiting: dict[Hashable, dict[asyncio.Future[Thing], None]] = {}
        # The tenant that came last and when, and when another one than it came.
        self._last: Hashable = None
        self._last_at = self._other_at = -_LATELY_SECONDS

    def has_room(self, lane: Hashable) -> bool:
        sizes, out = self._sizes, self._out.get(lane)
        if sizes is None or out is None:
            return True
        if len(out) < sizes.among_others and not self._is_flooded(lane, out, sizes):
            return True
        return len(out) < sizes.alone and self.is_alone(lane)

    def enter(self, lane: Hashable) -> Place:
        """One more thing is out in `lane`."""
        now = self._clock()
        self._out.setdefault(lane, []).append(now)
        if lane not in _OF_NO_TENANT:
            if lane != self._last:
                self._last, self._other_at = lane, self._last_at
            self._last_at = now
        return Place(lane, now)

    def leave(self, place: Place) -> None:
        """What was out there is back."""
        out = self._out[place.lane]
        out.remove(place.since)
        if not out:
            del self._out[place.lane]

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

    def next_in_turn(self) -> "tuple[Place, asyncio.Future[Thing]] | None":
        """Who waits longest in the next lane that has room, and a place there."""
        for lane, line in self._waiting.items():
            waiter = next((one for one in line if not one.done()), None)
            if waiter is not None and self.has_room(lane):
                # To the end: the next turn is another lane's.
                self._waiting[lane] = self._waiting.pop(lane)
                return self.enter(lane), waiter
        return None

    def waiting(self) -> "list[asyncio.Future[Thing]]":
        """All that wait."""
        return [waiter for line in self._waiting.values() for waiter in line]

    def is_alone(self, lane: Hashable) -> bool:
        """Whether no other tenant has or wants anything, or was here in the last two seconds."""
        others = {*self._out, *self._waiting} - {lane} - _OF_NO_TENANT
        if others or lane in (LOOK_UPS, IMPORTS):
            return False
        other_at = self._other_at if lane == self._last else self._last_at
        return other_at <= self._clock() - _LATELY_SECONDS

    def _is_flooded(self, lane: Hashable, out: list[float], sizes: LaneSizes) -> bool:
        """Whether a tenant that has more requests in line than it may have things has its half of
        them for what may be done in a moment."""
        if lane in _OF_NO_TENANT or len(self._waiting.get(lane, ())) <= sizes.among_others:
            return False
        before = self._clock() - _BRIEF_SECONDS
        return sum(since > before for since in out) >= sizes.brief
