"""Times that could not be read back: beyond the calendar in UTC, as which they are stored, or at
its very ends, which asyncpg writes as `infinity`."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ARRAY, BindParameter, DateTime

from saas.errors import FieldError, Invalid

_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
# Those around them need no closer look.
_OUTER_YEARS = frozenset({_FIRST.year, _LAST.year})
# How a value for a column is named, alone and in a list.
_OF_COLUMNS = ("v_", "c_")
_MESSAGE = "The time is out of range. Give one from 0001-01-01T00:00:01Z to 9999-12-31T23:59:59Z."


def times_among(bound: Mapping[str, BindParameter[Any]]) -> tuple[str, ...]:
    """The names of the parameters that are times for a column with a zone."""
    return tuple(
        name
        for name, parameter in bound.items()
        if name.startswith(_OF_COLUMNS) and _is_time(parameter.type)
    )


def refuse_unstorable(names: Iterable[str], values: Mapping[str, Any]) -> None:
    """Raise Invalid for a time, or one in a list, that could not be read back."""
    faults = []
    for name in names:
        given = values.get(name)
        if any(map(_is_unstorable, given if isinstance(given, list) else (given,))):
            faults.append(FieldError(f"/{name[2:]}", "out_of_range", _MESSAGE))
    if faults:
        raise Invalid(errors=faults)


def _is_time(kind: Any) -> bool:
    if isinstance(kind, ARRAY):
        kind = kind.item_type
    return isinstance(kind, DateTime) and kind.timezone


def _is_unstorable(value: Any) -> bool:
    if not isinstance(value, datetime) or value.year not in _OUTER_YEARS:
        return False
    try:
        return not _FIRST < value.astimezone(UTC) < _LAST
    except OverflowError:
        return True
