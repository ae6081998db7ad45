"""Somebody who reads an answer piece by piece, as slowly as a test wants, and may leave."""

import asyncio
from contextvars import Context


class Reader:
    """`async with Reader(app, caller, path) as reader`: the app sends no more than one piece ahead.
    At the end of the block the reader has left, and the app is done."""

    def __init__(self, app, caller, path):
        self._app = app
        self._scope = {
            "type": "http",
            "method": "GET",
            "path": path.partition("?")[0],
            "raw_path": path.partition("?")[0].encode(),
            "query_string": path.partition("?")[2].encode(),
            "headers": [(b"authorization", f"Bearer {caller.key}".encode())],
        }
        self._sent = asyncio.Queue(maxsize=1)
        self._left = asyncio.Event()
        self._has_asked = False

    async def __aenter__(self):
        call = self._app(self._scope, self._receive, self._send)
        self.answering = asyncio.create_task(call, context=Context())
        self.start = await self._message()
        return self

    async def __aexit__(self, *_):
        self.leave()
        await asyncio.wait([self.answering])

    @property
    def status(self):
        return self.start["status"]

    async def piece(self):
        """The next piece of the body; b"" at its end, None where it breaks off."""
        while message := await self._message():
            if message["body"] or not message.get("more_body", False):
                return message["body"]
        return None

    async def rest(self):
        """All further pieces, and whether the last of them was the end."""
        found = b""
        while piece := await self.piece():
            found += piece
        return found, piece == b""

    def leave(self):
        self._left.set()

    async def _message(self):
        waiting = asyncio.create_task(self._sent.get())
        await asyncio.wait({waiting, self.answering}, return_when="FIRST_COMPLETED")
        if not waiting.done() and not self._sent.empty():
            await waiting
        if waiting.done():
            return waiting.result()
        waiting.cancel()
        return None

    async def _receive(self):
        if not self._has_asked:
            self._has_asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message):
        sending = asyncio.create_task(self._sent.put(message))
        gone = asyncio.create_task(self._left.wait())
        try:
            await asyncio.wait({sending, gone}, return_when="FIRST_COMPLETED")
        finally:
            sending.cancel()
            gone.cancel()
