"""An answer that is made while it is sent. It starts with its first piece, so that what is refused
before that is an ordinary refusal."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from litestar.types import Receive, Scope, Send

from saas.errors import Unavailable
from saas.web.exchange import HEAD_KEY

# Buffers on the way take megabytes at once, so a slow reader is seen to stand still for long.
_STALLED_SECONDS = 120

Write = Callable[[bytes], Awaitable[None]]


class ReaderGone(Exception):
    """Nobody reads the answer any more; whoever makes it should let go of what it holds."""


class StreamedAnswer:
    """`make` writes the body with the function that it is given. A reader who takes nothing for
    two minutes, or leaves, is given up; an answer that breaks off is never one that ends well."""

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
        leaving = asyncio.create_task(_leave(receive))
        leaving.add_done_callback(lambda _: reader.leave())
        try:
            await self._make(reader.write)
            await reader.end()
        except ReaderGone:
            # Without its end, for whoever would still be there.
            return
        finally:
            leaving.cancel()


class _Reader:
    def __init__(self, send: Send, headers: list[tuple[bytes, bytes]]) -> None:
        self._send = send
        self._headers = headers
        self._has_started = False
        self._has_left = False

    def leave(self) -> None:
        self._has_left = True

    async def write(self, piece: bytes) -> None:
        """Raises ReaderGone."""
        if self._has_left:
            raise ReaderGone
        await self._start()
        try:
            async with asyncio.timeout(_STALLED_SECONDS):
                await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        except TimeoutError:
            raise Unavailable("The reader took nothing for too long.") from None

    async def end(self) -> None:
        await self._start()
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _start(self) -> None:
        if not self._has_started:
            self._has_started = True
            start: Any = {
                "type": "http.response.start",
                "status": 200,
                "headers": list(self._headers),
            }
            await self._send(start)


async def _leave(receive: Receive) -> None:
    """Returns when the client has gone: servers do not say so to whom sends."""
    while (await receive())["type"] != "http.disconnect":
        pass
