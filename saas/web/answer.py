"""A finished HTTP answer as an ASGI app: status, headers and bytes, and nothing on top.

Litestar's own response classes cost more than the database query behind them; handlers that are
annotated to return an ASGIApp are sent as they are.
"""

from typing import Any

import msgspec
from litestar.types import Receive, Scope, Send

_JSON = (b"content-type", b"application/json")
_encode = msgspec.json.Encoder().encode


class Answer:
    """Sent once the transaction has been committed."""

    __slots__ = ("body", "headers", "status")

    def __init__(
        self, status: int, body: bytes = b"", headers: list[tuple[bytes, bytes]] | None = None
    ) -> None:
        self.status = status
        self.body = body
        self.headers = headers or []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = self.headers
        if self.status not in (204, 304):
            headers.append((b"content-length", b"%d" % len(self.body)))
        start: Any = {"type": "http.response.start", "status": self.status, "headers": headers}
        await send(start)
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


def json_answer(
    content: Any, status: int = 200, headers: list[tuple[bytes, bytes]] | None = None
) -> Answer:
    """`content` as JSON, straight to bytes."""
    return Answer(status, _encode(content), [_JSON, *(headers or ())])
