"""Which operators a column's type allows, and their operands: text as values of that type."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from math import isfinite
from typing import Annotated, Any
from uuid import UUID

import msgspec
from sqlalchemy import BigInteger, Column, Integer, SmallInteger

COMPARABLE = frozenset({str, int, float, Decimal, bool, UUID, datetime, date})
"""Documents and bytes have no order and no spelling in a query string."""
LIST_OPERATORS = frozenset({"in", "nin"})
MAX_LIST_VALUES = 100

_COMPARISONS = ("eq", "ne", "lt", "lte", "gt", "gte", "in", "nin")
_TEXT_OPERATORS = ("like", "ilike", "contains", "icontains", "startswith")
_PATTERN_OPERATORS = frozenset({"like", "ilike"})


class Refused(Exception):
    """What would be right. The grammar knows which parameter it is about."""


def operators_of(column: Column[Any]) -> tuple[str, ...]:
    """The operators that a column's type allows."""
    is_text = column.type.python_type is str
    return (*_COMPARISONS, *(_TEXT_OPERATORS if is_text else ()), "isnull")


def operand(
    columns: Mapping[str, Column[Any]], field: str, operator: str, value: str | Sequence[str]
) -> Any:
    """What `operator` compares the column `field` with: a typed value, a tuple of them for `in` and
    `nin`, a bool for `isnull`. Raises Refused."""
    column = columns.get(field)
    if column is None:
        raise Refused(f"Unknown field. Allowed: {', '.join(columns)}.")
    allowed = operators_of(column)
    if operator not in allowed:
        raise Refused(f"Unknown operator. Allowed: {', '.join(allowed)}.")
    if isinstance(value, str) is (operator in LIST_OPERATORS):
        raise Refused("in and nin take a list in brackets, the other operators one value.")
    if not isinstance(value, str):
        if len(value) > MAX_LIST_VALUES:
            raise Refused(f"At most {MAX_LIST_VALUES} values are allowed.")
        return tuple(typed_value(column, text) for text in value)
    if operator == "isnull":
        return boolean(value)
    if operator in _PATTERN_OPERATORS and (len(value) - len(value.rstrip("\\"))) % 2:
        raise Refused("A backslash escapes a character; double the last one.")
    return typed_value(column, value)


def integer_bounds(column: Column[Any]) -> tuple[int, int]:
    """The least and the largest integer that the column can hold."""
    bits = _BITS.get(type(column.type), 63)
    return -(2**bits), 2**bits - 1


def typed_value(column: Column[Any], text: str) -> Any:
    """`text` as the column's Python type. Raises Refused."""
    python_type = column.type.python_type
    if python_type is str:
        return storable_text(text)
    if python_type is bool:
        return boolean(text)
    if python_type is int:
        least, most = integer_bounds(column)
        return integer(text, least, most)
    if python_type in {float, Decimal}:
        return number(text, python_type)
    try:
        value = msgspec.convert(text, _STRICT.get(python_type, python_type))
        # The ends of the calendar are out of range in UTC, which is what is compared.
        return value.astimezone(UTC) if isinstance(value, datetime) else value
    except (msgspec.ValidationError, OverflowError):
        raise Refused(_EXPECTED.get(python_type, "It has the wrong type.")) from None


_BITS: Mapping[type, int] = {SmallInteger: 15, Integer: 31, BigInteger: 63}
_STRICT: Mapping[type, Any] = {datetime: Annotated[datetime, msgspec.Meta(tz=True)]}
_EXPECTED: Mapping[type, str] = {
    datetime: "Give an RFC 3339 time with its offset, + written as %2B: 2026-01-31T09:00:00Z.",
    date: "Give a date such as 2026-01-31.",
    UUID: "Give a UUID.",
}
# As in JSON; no longer than what a Decimal of the database can hold with some sense.
_NUMBER = re.compile(r"-?[0-9]{1,100}(\.[0-9]{1,100})?([eE][-+]?[0-9]{1,3})?", re.ASCII)
_INTEGER = re.compile(r"-?[0-9]{1,19}", re.ASCII)


def integer(text: str, least: int, most: int) -> int:
    if not _INTEGER.fullmatch(text) or not least <= int(text) <= most:
        raise Refused(f"Give an integer from {least} to {most}.")
    return int(text)


def number(text: str, kind: type[float | Decimal]) -> float | Decimal:
    """A number that is one: neither infinite nor none (`nan`)."""
    value = kind(text) if _NUMBER.fullmatch(text) else None
    if value is None or not isfinite(value):
        raise Refused("Give a number such as 12.5.")
    return value


def boolean(text: str) -> bool:
    if text not in {"true", "false"}:
        raise Refused("Give true or false.")
    return text == "true"


def storable_text(text: str) -> str:
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise Refused("The text holds a character that cannot be stored.")
    return text
