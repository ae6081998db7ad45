"""What a caller asks of a list, parsed and typed: no SQL here, and no HTTP.

The grammar is `field=value` and `field__operator=value` (docs/queries.md); columns are
allow-listed, and every refusal names what is allowed.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import BigInteger, Column, Integer, SmallInteger, Table

from saas.errors import BadRequest, FieldError

MAX_LIMIT = 100
MAX_LIST_VALUES = 100
MAX_CONDITIONS = 50
MAX_WORDS = 10
MAX_OFFSET = 1_000_000

_COMPARISONS = ("eq", "ne", "lt", "lte", "gt", "gte", "in", "nin")
_TEXT_OPERATORS = ("like", "ilike", "contains", "icontains", "startswith")
LIST_OPERATORS = frozenset({"in", "nin"})
_PATTERN_OPERATORS = frozenset({"like", "ilike"})
# Documents and bytes have no order and no spelling in a query string.
_COMPARABLE = frozenset({str, int, bool, UUID, datetime, date})


class Condition(NamedTuple):
    """`value` is typed as the column is; a tuple for `in` and `nin`, a bool for `isnull`."""

    column: str
    operator: str
    value: Any


class SortKey(NamedTuple):
    column: str
    descending: bool


class ListQuery(msgspec.Struct, frozen=True, kw_only=True):
    """One page of a list. `after` holds the sort values and id of the row before the page."""

    conditions: tuple[Condition, ...] = ()
    words: tuple[str, ...] = ()
    sort: tuple[SortKey, ...] = (SortKey("created_at", True), SortKey("id", True))
    deleted: Literal["exclude", "include", "only"] = "exclude"
    limit: int = 20
    offset: int | None = None
    after: tuple[Any, ...] | None = None
    include_total: bool = False


class QueryGrammar:
    """Turns the parameters of one resource's list into a ListQuery; made once per resource."""

    def __init__(
        self, table: Table, *, search: Iterable[str] = (), hidden: Iterable[str] = ()
    ) -> None:
        excluded = {"tenant_id", "deleted_at", "deleted_by", *hidden}
        self.columns = {
            c.name: c
            for c in table.columns
            if c.name not in excluded and c.type.python_type in _COMPARABLE
        }
        self.search = tuple(search)
        self.has_soft_delete = "deleted_at" in table.c
        self._default_sort = self._sort_keys("-created_at" if "created_at" in table.c else "-id")
        self._options: Mapping[str, Callable[[str], Any]] = {
            "limit": lambda text: _integer("limit", text, 1, MAX_LIMIT),
            "offset": lambda text: _integer("offset", text, 0, MAX_OFFSET),
            "include_total": lambda text: _boolean("include_total", text),
            "deleted": self._deleted,
            "sort": self._sort_keys,
            "q": self._words,
        }

    def parse(self, parameters: Iterable[tuple[str, str]]) -> ListQuery:
        """Raises BadRequest naming what is allowed for anything that is not."""
        options: dict[str, Any] = {"sort": self._default_sort}
        conditions: list[Condition] = []
        seen: set[str] = set()
        for name, text in parameters:
            if name in self._options:
                if name in seen:
                    raise bad_parameter(name, "Give it once.")
                seen.add(name)
                options[name] = self._options[name](text)
            else:
                conditions.append(self._condition(name, text))
        if len(conditions) > MAX_CONDITIONS:
            raise BadRequest(f"At most {MAX_CONDITIONS} filters are allowed.")
        options["words"] = options.pop("q", ())
        return ListQuery(conditions=tuple(conditions), **options)

    def type_of(self, column: str) -> Any:
        """The Python type of a sortable column's values, for reading cursors."""
        found = self.columns[column]
        python_type = found.type.python_type
        return python_type | None if found.nullable else python_type

    def _condition(self, name: str, text: str) -> Condition:
        field, mark, operator = name.partition("__")
        column = self.columns.get(field)
        if column is None:
            raise bad_parameter(name, f"Unknown field. Allowed: {', '.join(self.columns)}.")
        operator = operator if mark else "eq"
        allowed = operators_of(column)
        if operator not in allowed:
            raise bad_parameter(name, f"Unknown operator. Allowed: {', '.join(allowed)}.")
        if operator == "isnull":
            return Condition(field, operator, _boolean(name, text))
        if operator in LIST_OPERATORS:
            texts = text.split(",")
            if len(texts) > MAX_LIST_VALUES:
                raise bad_parameter(name, f"At most {MAX_LIST_VALUES} values are allowed.")
            return Condition(field, operator, tuple(_typed(name, column, t) for t in texts))
        if operator in _PATTERN_OPERATORS and (len(text) - len(text.rstrip("\\"))) % 2:
            raise bad_parameter(name, "A backslash escapes a character; double the last one.")
        return Condition(field, operator, _typed(name, column, text))

    def _sort_keys(self, text: str) -> tuple[SortKey, ...]:
        keys = [SortKey(part.removeprefix("-"), part.startswith("-")) for part in text.split(",")]
        names = [key.column for key in keys]
        for name in names:
            if name not in self.columns:
                allowed = ", ".join(self.columns)
                raise bad_parameter("sort", f"Unknown field {name!r}. Allowed: {allowed}.")
        if len(set(names)) < len(names):
            raise bad_parameter("sort", "Name each field once.")
        if "id" not in names:
            # The tiebreak makes the order total, so that no page repeats or skips a row.
            keys.append(SortKey("id", keys[-1].descending))
        return tuple(keys)

    def _deleted(self, text: str) -> str:
        if not self.has_soft_delete:
            raise bad_parameter("deleted", "This list holds no deleted rows.")
        if text not in {"exclude", "include", "only"}:
            raise bad_parameter("deleted", "Give include, only or exclude.")
        return text

    def _words(self, text: str) -> tuple[str, ...]:
        if not self.search:
            raise bad_parameter("q", "This resource has no searchable fields.")
        words = tuple(_text("q", text).split())
        if len(words) > MAX_WORDS:
            raise bad_parameter("q", f"At most {MAX_WORDS} words are allowed.")
        return words


def operators_of(column: Column[Any]) -> tuple[str, ...]:
    """The operators that a column's type allows."""
    python_type = column.type.python_type
    operators: tuple[str, ...] = ("eq", "ne") if python_type is bool else _COMPARISONS
    if python_type is str:
        operators += _TEXT_OPERATORS
    return (*operators, "isnull") if column.nullable else operators


def integer_bounds(column: Column[Any]) -> tuple[int, int]:
    """The least and the largest integer that the column can hold."""
    bits = _BITS.get(type(column.type), 63)
    return -(2**bits), 2**bits - 1


def bad_parameter(name: str, message: str) -> BadRequest:
    """A refusal of one query parameter; `message` says what would be right."""
    # RFC 6901, section 3.
    step = name.replace("~", "~0").replace("/", "~1")
    return BadRequest(
        f"The query parameter {name!r} is refused. {message}",
        errors=[FieldError(f"/{step}", "bad_parameter", message)],
    )


def _typed(name: str, column: Column[Any], text: str) -> Any:
    python_type = column.type.python_type
    if python_type is str:
        return _text(name, text)
    if python_type is bool:
        return _boolean(name, text)
    if python_type is int:
        least, most = integer_bounds(column)
        return _integer(name, text, least, most)
    try:
        value = msgspec.convert(text, _STRICT.get(python_type, python_type))
        # The ends of the calendar are out of range in UTC, which is what is compared.
        return value.astimezone(UTC) if isinstance(value, datetime) else value
    except (msgspec.ValidationError, OverflowError):
        raise bad_parameter(name, _EXPECTED.get(python_type, "It has the wrong type.")) from None


_BITS: Mapping[type, int] = {SmallInteger: 15, Integer: 31, BigInteger: 63}
_STRICT: Mapping[type, Any] = {datetime: Annotated[datetime, msgspec.Meta(tz=True)]}
_EXPECTED: Mapping[type, str] = {
    datetime: "Give an RFC 3339 time with its offset, + written as %2B: 2026-01-31T09:00:00Z.",
    date: "Give a date such as 2026-01-31.",
    UUID: "Give a UUID.",
}
_INTEGER = re.compile(r"-?[0-9]{1,19}", re.ASCII)


def _integer(name: str, text: str, least: int, most: int) -> int:
    if not _INTEGER.fullmatch(text) or not least <= int(text) <= most:
        raise bad_parameter(name, f"Give an integer from {least} to {most}.")
    return int(text)


def _boolean(name: str, text: str) -> bool:
    if text not in {"true", "false"}:
        raise bad_parameter(name, "Give true or false.")
    return text == "true"


def _text(name: str, text: str) -> str:
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise bad_parameter(name, "The text holds a character that cannot be stored.")
    return text
