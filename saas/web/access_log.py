"""The one log line of each request. It names what was called and by whom, never what was in it:
no query, no body, no header but the checked request id."""

from datetime import UTC, datetime
from typing import Literal

import msgspec

from saas.web.exchange import Exchange
from saas.web.logs import output, printable
from saas.web.request_id import trace_id

_LONGEST_PATH = 1024


class AccessLine(msgspec.Struct, omit_defaults=True):
    """`duration_ms` runs until the app is done, `bytes_out` counts body bytes. `aborted` shows
    only on an answer that began and did not end."""

    at: datetime
    level: Literal["info", "error"]
    event: Literal["request"]
    method: str
    path: str
    route: str
    status: int
    duration_ms: float
    bytes_out: int
    request_id: str
    trace_id: str | None
    tenant: str | None
    actor: str | None
    ip: str | None
    aborted: bool = False


_encode = msgspec.json.Encoder().encode


def write_access_line(exchange: Exchange) -> None:
    """Log one finished exchange."""
    scope = exchange.scope
    state = scope["state"]
    client = scope.get("client")
    status = exchange.status
    line = AccessLine(
        at=datetime.now(UTC),
        level="error" if status >= 500 else "info",
        event="request",
        method=exchange.method,
        path=printable(exchange.path[:_LONGEST_PATH]),
        route=exchange.route,
        status=status,
        duration_ms=round(exchange.seconds * 1000, 3),
        bytes_out=exchange.bytes_out,
        request_id=exchange.request_id.decode(),
        trace_id=trace_id(exchange.traceparent),
        tenant=state.get("tenant_id"),
        actor=state.get("actor"),
        # The peer of the socket. X-Forwarded-For is what a client likes to write into it.
        ip=client[0] if client else None,
        aborted=exchange.has_started and not exchange.is_complete,
    )
    output.later(_encode(line))
