"""One HTTP request to an ASGI app, and what came of it. The attacks are tens of thousands, and a
client for the whole web takes longer for each than the app does."""

import asyncio
from collections.abc import Iterable
from contextvars import Context
from typing import Any
from urllib.parse import quote, unquote, urlencode

import msgspec

Headers = tuple[tuple[bytes, bytes], ...]


async def request(
    app: Any,
    method: str,
    target: str,
    *,
    headers: Iterable[tuple[str, str]] = (),
    params: dict[str, str] | None = None,
    json: Any = None,
    content: str | bytes | None = None,
) -> tuple[int, Headers, bytes]:
    """Status, headers and body of the answer. The app runs in a fresh context, as on a server."""
    path, _, query = target.partition("?")
    sent = [(b"host", b"test"), *((k.lower().encode(), v.encode()) for k, v in headers)]
    body = content.encode() if isinstance(content, str) else content
    if json is not None:
        body = msgspec.json.encode(json)
        sent.append((b"content-type", b"application/json"))
    if body is not None:
        sent.append((b"content-length", str(len(body)).encode()))
    raw_path = quote(path, safe="/:%")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(raw_path),
        "raw_path": raw_path.encode(),
        "query_string": (urlencode(params) if params else query).encode(),
        "root_path": "",
        "headers": sent,
        "client": ("127.0.0.1", 1),
        "server": ("test", 80),
    }
    exchange = _Exchange(body or b"")
    await asyncio.create_task(app(scope, exchange.receive, exchange.send), context=Context())
    return exchange.status, exchange.headers, bytes(exchange.body)


class _Exchange:
    def __init__(self, sent: bytes) -> None:
        self._sent: bytes | None = sent
        self.status = 0
        self.headers: Headers = ()
        self.body = bytearray()

    async def receive(self) -> dict[str, Any]:
        if self._sent is None:
            # Nothing more comes, and the caller stays.
            await asyncio.Event().wait()
        sent, self._sent = self._sent, None
        return {"type": "http.request", "body": sent, "more_body": False}

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = tuple((bytes(k), bytes(v)) for k, v in message["headers"])
        else:
            self.body += message.get("body", b"")
