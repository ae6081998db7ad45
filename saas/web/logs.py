"""One JSON object per line on stderr, for our own events, the libraries' and the access log.

Standard output stays free for what a command prints. Access lines (`access_log.py`) skip the
processors for speed and have the same shape.
"""

import atexit
import logging
import sys
from asyncio import get_running_loop
from contextvars import Context
from datetime import UTC, datetime
from typing import Any, BinaryIO

import msgspec
import structlog
from structlog.typing import EventDict, WrappedLogger

from saas.context import origin, principal_or_none

_encode = msgspec.json.Encoder(enc_hook=str, uuid_format="canonical").encode
_FIRST = ("at", "level", "event")
# POSIX writes up to this much to a pipe in one piece (PIPE_BUF on Linux).
_ATOMIC_BYTES = 4096
_DELAY_SECONDS = 0.1


class _Output:
    """Where lines go. A log that cannot be written (full disk, closed pipe) never fails a
    request."""

    def __init__(self) -> None:
        self._stream: BinaryIO | None = None
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0

    def use(self, stream: BinaryIO | None) -> None:
        self.flush()
        self._stream = stream

    def msg(self, line: bytes) -> None:
        """Write `line` at once, behind those that wait."""
        self.flush()
        self._write(line + b"\n")

    def later(self, line: bytes) -> None:
        """Write `line` together with others, at most a tenth of a second from now: a system call
        for each request would cost as much as the rest of its line. Needs a running event loop;
        a process that is killed loses what waits."""
        self._waiting_bytes += len(line) + 1
        if self._waiting_bytes > _ATOMIC_BYTES:
            self.flush()
            self._waiting_bytes = len(line) + 1
        if not self._waiting:
            # An empty context: the timer must not carry the tenant of the request that set it.
            get_running_loop().call_later(_DELAY_SECONDS, self.flush, context=Context())
        self._waiting.append(line)

    def flush(self) -> None:
        """Write all that waits, with one system call, so that lines of several workers on one pipe
        do not mix."""
        if self._waiting:
            lines, self._waiting, self._waiting_bytes = self._waiting, [], 0
            self._write(b"\n".join(lines) + b"\n")

    def _write(self, text: bytes) -> None:
        try:
            stream = self._stream
            if stream is None:
                buffered = sys.stderr.buffer
                stream = getattr(buffered, "raw", buffered)
            stream.write(text)
        except (OSError, ValueError, AttributeError):  # Full, closed, or no stderr at all.
            return

    # structlog calls the method named for the level.
    debug = info = warning = error = critical = msg


output = _Output()
atexit.register(output.flush)


def configure_logging(level: str, stream: BinaryIO | None = None) -> None:
    """Send structlog and the standard library's logging as JSON lines to `stream` (by default
    stderr; it should be unbuffered), from `level` on: debug, info, warning or error."""
    output.use(stream)
    structlog.configure(
        processors=[
            _add_context,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            _as_line,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: output,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for old in [handler for handler in root.handlers if isinstance(handler, _Forward)]:
        root.removeHandler(old)
    root.addHandler(_Forward())
    root.setLevel(level.upper())


class _Forward(logging.Handler):
    """Hands records of the standard library to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        known_level = min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL)
        try:
            structlog.get_logger().log(
                known_level, record.getMessage(), logger=record.name, exc_info=record.exc_info
            )
        except Exception:  # As every handler of the library: a bad format string breaks nothing.
            self.handleError(record)


def _add_context(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Who acts, from the one context of the request. structlog's own contextvars are not read:
    nobody clears them, so they could name the tenant of the request before."""
    if request_id := origin().request_id:
        event.setdefault("request_id", request_id)
    if who := principal_or_none():
        event.setdefault("tenant", str(who.tenant_id))
        event.setdefault("actor", who.actor)
    return event


def _as_line(_: WrappedLogger, __: str, event: EventDict) -> bytes:
    event["at"] = datetime.now(UTC)
    ordered: dict[str, Any] = {key: event.pop(key) for key in _FIRST} | dict(event)
    try:
        return _encode(ordered)
    except (ValueError, TypeError, RecursionError):  # Such as a lone surrogate: it has no UTF-8.
        return _encode({key: printable(str(value)) for key, value in ordered.items()})


def printable(text: str) -> str:
    """`text` without characters that steer a terminal or have no UTF-8 form: C1 controls,
    bidirectional marks, lone surrogates. JSON itself escapes only those below U+0020."""
    return text if text.isprintable() else text.encode("unicode_escape").decode()
