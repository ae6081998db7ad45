"""Answers that take up to half a second of a core, such as pictures and long files: made one at a
time, for the tenants in turn, whoever asks how often."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from litestar.types import Receive, Scope, Send

from saas import context
from saas.errors import TooManyAtOnce
from saas.web.answer import Answer

MOST_WAITING = 20
"""Answers to one tenant: a full page of charts. Servers tell nobody that a reader has left, so what
a flood has asked for is made to its end."""

_Make = Callable[[], bytes]


class Workshop:
    """Makes them in a thread of its own, so that all other requests get the rest of the process."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="slow-answers")
        self._lock = threading.Lock()
        # The first tenant is the next in turn. None of them has an empty line.
        self._lines: dict[Hashable, deque[tuple[_Make, Future[bytes]]]] = {}

    async def made(self, whose: Hashable, make: _Make) -> bytes:
        """What `make` gives. Raises TooManyAtOnce where MOST_WAITING of the tenant `whose` wait
        already, and what `make` raises."""
        made: Future[bytes] = Future()
        with self._lock:
            line = self._lines.setdefault(whose, deque())
            if len(line) >= MOST_WAITING:
                raise TooManyAtOnce
            line.append((make, made))
        # One call for each, but not for a certain one.
        self._thread.submit(self._make_next)
        return await asyncio.wrap_future(made)

    def _make_next(self) -> None:
        make, made = self._next_in_turn()
        # Not where nobody waits for it any more.
        if made.set_running_or_notify_cancel():
            try:
                made.set_result(make())
            except BaseException as error:
                made.set_exception(error)

    def _next_in_turn(self) -> tuple[_Make, Future[bytes]]:
        with self._lock:
            whose = next(iter(self._lines))
            line = self._lines.pop(whose)
            first = line.popleft()
            if line:
                # To the end: the next turn is another tenant's.
                self._lines[whose] = line
            return first


workshop = Workshop()
"""Of the process, whose core it takes."""


class SlowAnswer:
    """Made when it is sent: by then the request has given its connection back. Raises TooManyAtOnce
    where too many of the tenant's wait for it."""

    def __init__(self, headers: Sequence[tuple[bytes, bytes]], make: _Make) -> None:
        self._headers = headers
        self._make = make

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await workshop.made(context.principal().tenant_id, self._make)
        await Answer(200, body, [*self._headers])(scope, receive, send)
