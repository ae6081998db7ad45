"""Who holds how many of a pool's connections and who waits for one: a lane for each tenant, so that
the flood of one is a queue of its own and not everybody's."""

import asyncio
from collections.abc import Hashable
from typing import Generic, TypeVar

from saas.errors import TooManyAtOnce

Thing = TypeVar("Thing")

# Each waiting request holds memory, and a place among those that the server takes at once.
_MOST_WAITING = 1_000


class Lanes(Generic[Thing]):
    """At most `most` things are out in one lane; None sets no bound. What comes free goes to the
    lanes in turn, so that who asks seldom waits for one thing and not for a whole queue."""

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._out: dict[Hashable, int] = {}
        # Dictionaries as ordered sets. The first lane is the next in turn.
        self._waiting: dict[Hashable, dict[asyncio.Future[Thing], None]] = {}

    def has_room(self, lane: Hashable) -> bool:
        return self._most is None or self._out.get(lane, 0) < self._most

    def enter(self, lane: Hashable) -> None:
        """One more thing is out in `lane`."""
        self._out[lane] = self._out.get(lane, 0) + 1

    def leave(self, lane: Hashable) -> None:
        """One less is."""
        left = self._out.pop(lane) - 1
        if left:
            self._out[lane] = left

    def line_up(self, lane: Hashable) -> "asyncio.Future[Thing]":
        """A place behind the others of `lane`, for `next_in_turn`; `step_out` must follow. Raises
        TooManyAtOnce where lanes are bounded and 1,000 stand there already."""
        line = self._waiting.setdefault(lane, {})
        if self._most is not None and len(line) >= _MOST_WAITING:
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
