"""The steps between a value of the source and one of a resource. Each refuses what it cannot read:
a migration that guesses is found out years later."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from importlib import import_module
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import UNSET

from saas.errors import ConfigurationError
from saas.legacy.map import ColumnMap

Step = Callable[[Any], Any]
Make = Callable[[Sequence[Any]], Any]

# Besides the formats of strptime.
_ISO, _UNIX = "iso", "unix"


class BadValue(Exception):
    """A value that a step cannot read."""

    def __init__(self, value: Any, code: str, reason: str) -> None:
        super().__init__(reason)
        self.value, self.code, self.reason = value, code, reason


def maker_of(column: ColumnMap) -> Make:
    """What makes the resource's value of the source's, which come in the order of `from`; it raises
    BadValue. Raises ConfigurationError for steps that contradict each other, or that are not
    there."""
    _check(column)
    if column.const is not UNSET:
        return lambda _: column.const
    start = _start(column)
    steps = list(_steps(column))

    def make(values: Sequence[Any]) -> Any:
        value = start(values)
        for step in steps:
            if value is None:
                break
            value = step(value)
        return column.default if value is None and column.default is not UNSET else value

    return make


def _check(column: ColumnMap) -> None:
    if (column.const is UNSET) == (not column.sources):
        raise ConfigurationError("give either from or const")
    if len(column.sources) > 1 and column.join is None and column.call is None:
        raise ConfigurationError("several columns need join or call")
    if column.otherwise is not UNSET and column.values is None:
        raise ConfigurationError("otherwise is for values")
    if sum((column.date is not None, column.time is not None, column.cents)) > 1:
        raise ConfigurationError("give one of date, time and cents")


def _start(column: ColumnMap) -> Make:
    if column.call is not None:
        return _called(_function(column.call))
    join = column.join
    if join is None:
        return lambda values: values[0]
    # Parts that are missing leave no gap.
    return lambda values: join.join([str(v) for v in values if v is not None and v != ""]) or None


def _function(name: str) -> Callable[..., Any]:
    """The one way in for code: it is named in the operator's own map, and found by Python's own
    search path."""
    module, _, attribute = name.partition(":")
    try:
        function: Callable[..., Any] = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(f"call = {name!r}: give module:function ({error})") from None
    return function


def _called(function: Callable[..., Any]) -> Make:
    def call(values: Sequence[Any]) -> Any:
        try:
            return function(*values)
        except ValueError as error:
            raise BadValue(values[0] if values else None, "refused", f"{error}.") from None

    return call


def _steps(column: ColumnMap) -> Iterator[Step]:
    if column.text:
        yield str
    if column.strip:
        yield _of_text(str.strip)
    if column.lower:
        yield _of_text(str.lower)
    if column.trim is not None:
        yield _of_text(lambda text: text[: column.trim])
    if column.null:
        yield _nulled(frozenset(column.null))
    if column.values is not None:
        yield _mapped(column.values, column.otherwise)
    if column.date is not None:
        yield _date(column.date)
    if column.time is not None:
        yield _time(column.time, _zone(column.zone))
    if column.cents:
        yield _cents


def _of_text(change: Callable[[str], str]) -> Step:
    def step(value: Any) -> Any:
        if not isinstance(value, str):
            raise BadValue(value, "wrong_type", f"Expected a text, got {type(value).__name__}.")
        return change(value)

    return step


def _nulled(nulls: frozenset[str]) -> Step:
    return lambda value: None if str(value) in nulls else value


def _mapped(values: Mapping[str, Any], otherwise: Any) -> Step:
    def step(value: Any) -> Any:
        found = values.get(str(value), otherwise)
        if found is UNSET:
            raise BadValue(value, "unknown_value", f"It is none of {', '.join(values)}.")
        return found

    return step


def _date(form: str) -> Step:
    def step(value: Any) -> Any:
        if isinstance(value, datetime):
            return value.date()
        if isinstance(value, date):
            return value
        return _parsed(value, form).date()

    return step


def _time(form: str, zone: ZoneInfo) -> Step:
    """A time without an offset is of `zone`."""

    def step(value: Any) -> Any:
        time = value if isinstance(value, datetime) else _parsed(value, form)
        aware = time if time.tzinfo is not None else time.replace(tzinfo=zone)
        try:
            return aware.astimezone(UTC)
        except OverflowError:
            raise BadValue(value, "out_of_range", "There is no such time in UTC.") from None

    return step


def _parsed(value: Any, form: str) -> datetime:
    try:
        if form == _ISO:
            return datetime.fromisoformat(value)
        if form == _UNIX:
            return datetime.fromtimestamp(float(value), UTC)
        return datetime.strptime(value, form)  # noqa: DTZ007 - its zone is the map's
    except (TypeError, ValueError, OverflowError, OSError):
        wanted = {_ISO: "an ISO 8601 date or time", _UNIX: "seconds since 1970"}.get(form, form)
        raise BadValue(value, "invalid_format", f"Expected {wanted}.") from None


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise ConfigurationError(f"there is no time zone {name!r}") from None


def _cents(value: Any) -> int:
    try:
        # By its text: the float 1.15 is less than 1.15.
        cents = Decimal(str(value)) * 100
        whole = int(cents)
    except (InvalidOperation, ValueError, OverflowError):
        raise BadValue(value, "invalid_format", "Expected a decimal number.") from None
    if whole != cents:
        raise BadValue(value, "out_of_range", "It has fractions of a cent.")
    return whole
