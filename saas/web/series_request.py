"""Which buckets a request for a series asks for: `bucket`, `tz`, `from` and `to`."""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, tzinfo
from functools import cache
from itertools import islice
from typing import Annotated, TypeVar
from zoneinfo import ZoneInfo, available_timezones

import msgspec

from saas.db.query import bad_parameter
from saas.usage.buckets import UNITS, Calendar, Span, Unit
from saas.web.described import Parameter, query_parameter

Choice = TypeVar("Choice", bound=str)

MOST_BUCKETS = 2_400
"""A hundred days by the hour."""
_DEFAULT_UNIT: Unit = "day"
_DEFAULT_BUCKETS = 30
_DEFAULT_ZONE = "UTC"
_YEARS = range(2000, 2101)

_TIME: Mapping[str, object] = {
    "anyOf": [
        {"type": "string", "format": "date"},
        {"type": "string", "format": "date-time"},
    ]
}
SPAN_PARAMETERS: tuple[Parameter, ...] = (
    query_parameter(
        "from",
        _TIME,
        "The series begins with the bucket that this is in: a date, which is its first moment in "
        "tz, or a time with its offset. By default so that there are 30 buckets.",
    ),
    query_parameter(
        "to",
        _TIME,
        "The series ends before it, where a bucket ends: `to=2026-02-01` leaves out the first of "
        "February. By default the end of the present bucket.",
    ),
    query_parameter(
        "bucket",
        {"type": "string", "enum": list(UNITS), "default": _DEFAULT_UNIT},
        f"Weeks begin on Monday. A series has at most {MOST_BUCKETS} buckets.",
    ),
    query_parameter(
        "tz",
        {"type": "string", "default": _DEFAULT_ZONE, "examples": ["Europe/Berlin"]},
        "The time zone of the buckets, by its IANA name.",
    ),
)


def wanted_choice(
    given: Mapping[str, str], name: str, allowed: tuple[Choice, ...]
) -> Choice | None:
    """The parameter as one of `allowed`, None without it. Raises BadRequest naming them."""
    if name not in given:
        return None
    for choice in allowed:
        if choice == given[name]:
            return choice
    raise bad_parameter(name, f"Give one of: {', '.join(allowed)}.")


def wanted_span(given: Mapping[str, str], now: datetime) -> Span:
    """Raises BadRequest saying what is allowed."""
    zone = _zone(given.get("tz", _DEFAULT_ZONE))
    unit: Unit = wanted_choice(given, "bucket", UNITS) or _DEFAULT_UNIT
    calendar = Calendar(unit, zone)
    begin, end = (_instant(given, name, zone) for name in ("from", "to"))
    if begin is not None and begin >= (end or calendar.after(calendar.start(now))):
        raise bad_parameter(
            "from", "It must lie before `to`, by default the end of the present bucket."
        )
    last = calendar.after(calendar.start(now)) if end is None else calendar.end(end)
    first = calendar.back(last, _DEFAULT_BUCKETS) if begin is None else calendar.start(begin)
    edges = tuple(islice(calendar.edges(first, last), MOST_BUCKETS + 2))
    if len(edges) > MOST_BUCKETS + 1:
        raise bad_parameter(
            "bucket",
            f"At most {MOST_BUCKETS} buckets are allowed: choose longer ones, or a shorter time.",
        )
    return Span(calendar, edges)


_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_Aware = Annotated[datetime, msgspec.Meta(tz=True)]


def _zone(name: str) -> tzinfo:
    if name == _DEFAULT_ZONE:
        return UTC
    # The name becomes the path of a file, or that of a module: nothing but known ones goes there.
    if name not in _zone_names():
        raise bad_parameter("tz", "Give an IANA time zone such as Europe/Berlin.")
    return ZoneInfo(name)


@cache
def _zone_names() -> frozenset[str]:
    """Some fifty milliseconds, once. The server's own zone is nobody's business."""
    return frozenset(available_timezones() - {"localtime", "Factory"})


def _instant(given: Mapping[str, str], name: str, zone: tzinfo) -> datetime | None:
    text = given.get(name)
    if text is None:
        return None
    try:
        if _DATE.fullmatch(text):
            day = msgspec.convert(text, date)
            local = datetime.combine(day, time.min, tzinfo=zone)
        else:
            local = msgspec.convert(text, _Aware)
        at = local.astimezone(UTC)
    except (msgspec.ValidationError, OverflowError):
        raise bad_parameter(
            name,
            "Give a date such as 2026-01-31, or an RFC 3339 time with its offset, + written as "
            "%2B: 2026-01-31T09:00:00Z.",
        ) from None
    # As it is given: the first day of 2000 begins before 2000 in UTC in half of the zones.
    if local.year not in _YEARS:
        raise bad_parameter(name, f"Give a time from {_YEARS[0]} to {_YEARS[-1]}.")
    return at
