"""The names of one request: our request id and the caller's W3C trace id.

Both end up in log lines, response headers and the audit trail, so a value from outside counts only
when it is short and plain.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from uuid_utils import uuid7

STATE_KEY = "request_id"

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}").fullmatch
# https://www.w3.org/TR/trace-context/#traceparent-header: version ff and all-zero ids are invalid.
_TRACEPARENT = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
).fullmatch


def request_id(scope: Mapping[str, Any]) -> str:
    """The id of this request; empty where no `Edge` is around the app."""
    state: dict[str, Any] = scope.get("state") or {}
    found: str = state.get(STATE_KEY, "")
    return found


def identify(headers: Iterable[tuple[bytes, bytes]]) -> tuple[bytes, bytes | None]:
    """The request id to use (the caller's or a new one), and the caller's traceparent if it is
    well formed. A header sent twice is ambiguous and counts as absent."""
    sent_id: bytes | None = None
    traceparent: bytes | None = None
    for name, value in headers:
        if name == b"x-request-id":
            sent_id = value if sent_id is None else b""
        elif name == b"traceparent":
            traceparent = value if traceparent is None else b""
    if sent_id is None or not _REQUEST_ID(sent_id):
        sent_id = uuid7().hex.encode()
    if traceparent is not None and not _TRACEPARENT(traceparent):
        traceparent = None
    return sent_id, traceparent


def trace_id(traceparent: bytes | None) -> str | None:
    """The trace id inside a traceparent that `identify` has accepted."""
    return traceparent[3:35].decode() if traceparent is not None else None
