"""An answer that is made while it is sent. It starts with its first piece, so that what is refused
before that is an ordinary refusal; what breaks off later never looks like an end."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from litestar.types import Receive, Scope, Send

from saas.errors import Unavailable
from saas.web.exchange import HEAD_KEY

Write = Callable[[bytes], Awaitable[None]]

# Whoever reads holds a connection and a snapshot of the database. Buffers on the way take megabytes
# at once, so a slow reader is seen to stand still for long.
_STALLED_SECONDS = 120
_LONGEST_SECONDS = 4 * 60 * 60


class StreamedAnswer:
    """`make` writes the body with the function that it is given, and is cancelled when the reader
    leaves. A reader who takes nothing for two minutes, or is not done after four hours, is given
    up: raises Unavailable, and the server breaks the connection (RFC 9112, 8)."""

    def __init__(
        self, headers: list[tuple[bytes, bytes]], make: Callable[[Write], Awaitable[object]]
    ) -> None:
        self._headers = headers
        self._make = make

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reader = _Reader(send, self._headers)
        if scope["state"].get(HEAD_KEY):
            await reader.end()
            return
        try:
            async with asyncio.timeout(_LONGEST_SECONDS) as limit:
                leaving = asyncio.create_task(_leave(receive))
                leaving.add_done_callback(lambda _: reader.leave(limit))
                try:
                    await self._make(reader.write)
                    await reader.end()
                finally:
                    reader.is_done = True
                    leaving.cancel()
        except TimeoutError:
            # Without its end, for whoever would still be there.
            if not reader.has_left:
                raise Unavailable("The answer took too long to be read.") from None


class _Reader:
    def __init__(self, send: Send, headers: list[tuple[bytes, bytes]]) -> None:
        self._send = send
        self._headers = headers
        self._has_started = False
        self.is_done = False
        self.has_left = False

    def leave(self, limit: asyncio.Timeout) -> None:
        """Servers say that the reader has left also when all has been sent."""
        if not self.is_done:
            self.has_left = True
            limit.reschedule(0)

    async def write(self, piece: bytes) -> None:
        await self._start()
        await self._send_piece(piece, more=True)

    async def end(self) -> None:
        await self._start()
        # An empty piece goes before: of an answer in one piece servers would tell the length, which
        # for a HEAD is not that of the GET.
        await self._send_piece(b"", more=True)
        self.is_done = True
        await self._send_piece(b"", more=False)

    async def _start(self) -> None:
        if not self._has_started:
            self._has_started = True
            start: Any = {
                "type": "http.response.start",
                "status": 200,
                "headers": list(self._headers),
            }
            await self._send(start)

    async def _send_piece(self, piece: bytes, *, more: bool) -> None:
        async with asyncio.timeout(_STALLED_SECONDS):
            await self._send({"type": "http.response.body", "body": piece, "more_body": more})


async def _leave(receive: Receive) -> None:
    """Returns when the client has gone: servers do not say so to whom sends."""
    while (await receive())["type"] != "http.disconnect":
        pass
