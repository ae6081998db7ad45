"""One request as the outermost layer sees it: where it came from and what has been sent for it."""

from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

from saas.web.request_id import STATE_KEY, identify
from saas.web.response_headers import completed

# ASGI's own types: each message and scope is an open dictionary.
Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

API_PREFIX = "/v1/"
UNMATCHED = "unmatched"
CLIENT_CLOSED_REQUEST = 499
HEAD_KEY = "is_head"
"""In a scope's state: its GET was a HEAD, so nobody will read the content."""


class Exchange:
    """Gives the scope its request id, completes what goes through `send`, and counts the bytes of
    both bodies."""

    __slots__ = (
        "_receive",
        "_send",
        "_sent_status",
        "_started",
        "bytes_in",
        "bytes_out",
        "is_complete",
        "method",
        "path",
        "request_id",
        "scope",
        "seconds",
        "traceparent",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._started = perf_counter()
        self.request_id, self.traceparent = identify(scope["headers"])
        # A copy: a server that shared one state between requests would carry the tenant over.
        state = scope["state"] = {**scope.get("state", {})}
        state[STATE_KEY] = self.request_id.decode()
        self.scope = scope
        # Kept, because routing rewrites the scope's.
        self.path: str = scope["path"]
        self.method: str = scope["method"]
        if self.method == "HEAD":
            # The same as GET without the content (RFC 9110, 9.3.2); Litestar routes only GET.
            scope["method"] = "GET"
            state[HEAD_KEY] = True
        self._receive = receive
        self._send = send
        self._sent_status = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.is_complete = False
        self.seconds = 0.0

    @property
    def has_started(self) -> bool:
        return self._sent_status != 0

    @property
    def status(self) -> int:
        """What was sent; 499 when nothing was: then nobody was there to be answered."""
        return self._sent_status or CLIENT_CLOSED_REQUEST

    @property
    def route(self) -> str:
        """The template of the route, never the path: there are only so many templates."""
        template: str = self.scope.get("path_template") or UNMATCHED
        return template

    @property
    def whose(self) -> tuple[str, str] | None:
        """Tenant and actor, of a request that has come so far that they are known."""
        state = self.scope["state"]
        tenant = state.get("tenant_id")
        return (tenant, state["actor"]) if tenant else None

    async def receive(self) -> Message:
        message = await self._receive()
        self.bytes_in += len(message.get("body", b""))
        return message

    def send(self, message: Message) -> Awaitable[None]:
        kind = message["type"]
        if kind == "http.response.body":
            if self.method == "HEAD":
                message = {**message, "body": b""}
            self.bytes_out += len(message.get("body", b""))
            self.is_complete = not message.get("more_body", False)
        elif kind == "http.response.start":
            self._sent_status = message["status"]
            headers = completed(
                message.get("headers", ()),
                request_id=self.request_id,
                traceparent=self.traceparent,
                # `in`, not startswith: routing also takes //v1/… and a path below a root_path.
                is_api=API_PREFIX in self.path,
            )
            headers += self.scope["state"].get("rate_limit", ())
            message = {**message, "headers": headers}
        return self._send(message)

    def finish(self) -> None:
        self.seconds = perf_counter() - self._started
