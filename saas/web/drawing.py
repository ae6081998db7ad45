"""Who gets a picture drawn next: one at a time, tenants in turn, whoever asks how often."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor

from saas.errors import TooManyAtOnce

MOST_WAITING = 20
"""Pictures of one tenant: a full page of them. Servers tell nobody that a reader has left, so what
a flood has asked for is drawn to its end."""

_Draw = Callable[[], bytes]


class Drawing:
    """Draws in a thread of its own. A picture takes up to half a second of a core: requests that
    are no pictures get the rest of the process."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="charts")
        self._lock = threading.Lock()
        # The first tenant is the next in turn. None of them has an empty line.
        self._lines: dict[Hashable, deque[tuple[_Draw, Future[bytes]]]] = {}

    async def draw(self, whose: Hashable, draw: _Draw) -> bytes:
        """What `draw` gives. Raises TooManyAtOnce where MOST_WAITING of the tenant `whose` wait
        already, and what `draw` raises."""
        drawn: Future[bytes] = Future()
        with self._lock:
            line = self._lines.setdefault(whose, deque())
            if len(line) >= MOST_WAITING:
                raise TooManyAtOnce
            line.append((draw, drawn))
        # One call for each picture, which need not be this one.
        self._thread.submit(self._draw_next)
        return await asyncio.wrap_future(drawn)

    def _draw_next(self) -> None:
        draw, drawn = self._next_in_turn()
        # Not where nobody waits for it any more.
        if drawn.set_running_or_notify_cancel():
            try:
                drawn.set_result(draw())
            except BaseException as error:
                drawn.set_exception(error)

    def _next_in_turn(self) -> tuple[_Draw, Future[bytes]]:
        with self._lock:
            whose = next(iter(self._lines))
            line = self._lines.pop(whose)
            first = line.popleft()
            if line:
                # To the end: the next turn is another tenant's.
                self._lines[whose] = line
            return first
