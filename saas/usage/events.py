"""One use of something that the product counts by itself, and what may be wrong with it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from saas.db.query_values import Refused, storable_text
from saas.db.value_faults import holds_nul
from saas.errors import FieldError
from saas.limits import MOST, MeterName
from saas.usage.metrics import METRICS

OLDEST_DAYS = 90
"""So far back events may be told: a quota counts the whole month of each, and no figure of these
months is dropped (`retention.py`)."""
# Clocks differ.
_AHEAD = timedelta(minutes=5)
_MOST_BYTES = 2_048


class Event(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`idempotency_key` is the caller's own name for it, by meter: the same one counts once, ever.
    `at` is when it happened, now if it is absent: up to 5 minutes ahead, up to 90 days ago. `data`
    is kept with it and never read, at most 2,048 bytes of JSON."""

    meter: MeterName
    idempotency_key: Annotated[str, Meta(min_length=1, max_length=200)]
    quantity: Annotated[int, Meta(ge=1, le=MOST)] = 1
    at: Annotated[datetime, Meta(tz=True)] | None = None
    data: dict[str, Any] | None = None


def faults_of(event: Event) -> Iterator[FieldError]:
    """What its types cannot say."""
    now = datetime.now(UTC)
    if event.meter in METRICS:
        yield FieldError("/meter", "reserved", "This is counted already. Choose another name.")
    try:
        storable_text(event.idempotency_key)
    except Refused as refused:
        yield FieldError("/idempotency_key", "invalid_text", str(refused))
    if event.at is not None and not now - timedelta(days=OLDEST_DAYS) <= event.at <= now + _AHEAD:
        message = "Expected a time from 90 days ago to 5 minutes ahead."
        yield FieldError("/at", "out_of_range", message)
    if event.data is not None and (reason := _why_not(event.data)):
        yield FieldError("/data", *reason)


def as_row(event: Event) -> dict[str, Any]:
    """As the statements read it."""
    return {
        "meter": event.meter,
        "key": event.idempotency_key,
        "quantity": event.quantity,
        "at": event.at,
        "data": event.data,
    }


def _why_not(data: dict[str, Any]) -> tuple[str, str] | None:
    """Code and message of what is wrong with `data`."""
    try:
        text = msgspec.json.encode(data)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
        return "invalid", "It cannot be written as JSON."
    if len(text) > _MOST_BYTES:
        return "too_long", f"Expected at most {_MOST_BYTES:,} bytes of JSON."
    if holds_nul(text):
        return "invalid_text", "A text holds a NUL character, which cannot be stored."
    return None
