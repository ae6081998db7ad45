"""What a caller asks of a list, parsed and typed: no SQL here, and no HTTP.

The grammar is `field=value`, `field__operator=value` and one `or=(…)` (docs/queries.md); columns
are allow-listed, and every refusal names what is allowed.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec
from sqlalchemy import Table

from saas.db.any_of import parse_any_of
from saas.db.query_values import (
    COMPARABLE,
    LIST_OPERATORS,
    Refused,
    boolean,
    integer,
    operand,
    storable_text,
)
from saas.errors import BadRequest, FieldError

MAX_LIMIT = 100
MAX_CONDITIONS = 50
MAX_WORDS = 10
MAX_OFFSET = 1_000_000


class Condition(NamedTuple):
    """`value` is typed as the column is; a tuple for `in` and `nin`, a bool for `isnull`."""

    column: str
    operator: str
    value: Any


class SortKey(NamedTuple):
    column: str
    descending: bool


class ListQuery(msgspec.Struct, frozen=True, kw_only=True):
    """One page of a list: the rows that fulfil all `conditions` and one of `any_of`, if there are
    any. `fields` are those to read; none means all.

    `after` holds the sort values of the row before the page, `before` those of the row behind it;
    an empty `before` asks for the last page. Give one of after, before and offset.
    """

    conditions: tuple[Condition, ...] = ()
    any_of: tuple[Condition, ...] = ()
    words: tuple[str, ...] = ()
    sort: tuple[SortKey, ...] = (SortKey("created_at", True), SortKey("id", True))
    fields: tuple[str, ...] = ()
    deleted: Literal["exclude", "include", "only"] = "exclude"
    limit: int = 20
    offset: int | None = None
    after: tuple[Any, ...] | None = None
    before: tuple[Any, ...] | None = None
    include_total: bool = False


class QueryGrammar:
    """Turns the parameters of one resource's list into a ListQuery; made once per resource.
    `fields` are what its rows show, and what `fields=` may choose from; `sort` is the order where
    none is asked for, else the latest come first."""

    def __init__(
        self,
        table: Table,
        *,
        search: Iterable[str] = (),
        hidden: Iterable[str] = (),
        fields: Iterable[str] = (),
        sort: str | None = None,
    ) -> None:
        excluded = {"tenant_id", "deleted_at", "deleted_by", *hidden}
        self.columns = {
            # Names in a table that is no model's are of a class that no encoder takes.
            str(c.name): c
            for c in table.columns
            if c.name not in excluded and c.type.python_type in COMPARABLE
        }
        texts = {c.name for c in table.columns if c.type.python_type is str}
        if not texts.issuperset(search):
            raise TypeError(f"{table.name}: search={search!r} is no tuple of its text columns")
        self.search = tuple(search)
        self.fields = tuple(fields)
        self.has_soft_delete = "deleted_at" in table.c
        latest = "-created_at" if "created_at" in table.c else "-id"
        self._default_sort = self._sort_keys(sort or latest)
        # Each option with the attribute of ListQuery that it becomes.
        self._options: Mapping[str, tuple[str, Callable[[str], Any]]] = {
            "limit": ("limit", lambda text: integer(text, 1, MAX_LIMIT)),
            "offset": ("offset", lambda text: integer(text, 0, MAX_OFFSET)),
            "include_total": ("include_total", boolean),
            "deleted": ("deleted", self._deleted),
            "sort": ("sort", self._sort_keys),
            "q": ("words", self._words),
            "or": ("any_of", self._any_of),
            "fields": ("fields", self._fields),
        }

    def parse(self, parameters: Iterable[tuple[str, str]]) -> ListQuery:
        """Raises BadRequest naming what is allowed for anything that is not."""
        options: dict[str, Any] = {}
        conditions: list[Condition] = []
        for name, text in parameters:
            try:
                if name in self._options:
                    attribute, read = self._options[name]
                    if attribute in options:
                        raise Refused("Give it once.")
                    options[attribute] = read(text)
                else:
                    conditions.append(self._filter(name, text))
            except Refused as refused:
                raise bad_parameter(name, str(refused)) from None
        if len(conditions) + len(options.get("any_of", ())) > MAX_CONDITIONS:
            raise BadRequest(f"At most {MAX_CONDITIONS} filters are allowed.")
        options.setdefault("sort", self._default_sort)
        return ListQuery(conditions=tuple(conditions), **options)

    def parse_fields(self, text: str) -> tuple[str, ...]:
        """The value of `fields=` for a single row. Raises BadRequest."""
        try:
            return self._fields(text)
        except Refused as refused:
            raise bad_parameter("fields", str(refused)) from None

    def type_of(self, column: str) -> Any:
        """The Python type of a sortable column's values, for reading cursors."""
        found = self.columns[column]
        python_type = found.type.python_type
        return python_type | None if found.nullable else python_type

    def _filter(self, name: str, text: str) -> Condition:
        field, mark, operator = name.partition("__")
        operator = operator if mark else "eq"
        if field not in self.columns:
            allowed = f"Allowed: {', '.join(self.columns)}"
            raise Refused(f"Unknown field. {allowed}. Not fields: {', '.join(self._offered())}.")
        return self._condition(
            field, operator, text.split(",") if operator in LIST_OPERATORS else text
        )

    def _offered(self) -> Iterator[str]:
        yield "cursor"
        offered = {"q": self.search, "fields": self.fields, "deleted": self.has_soft_delete}
        yield from (name for name in self._options if offered.get(name, True))

    def _any_of(self, text: str) -> tuple[Condition, ...]:
        terms = parse_any_of(text)
        if len(terms) > MAX_CONDITIONS:
            raise Refused(f"At most {MAX_CONDITIONS} filters are allowed.")
        conditions = []
        for field, operator, value in terms:
            try:
                conditions.append(self._condition(field, operator, value))
            except Refused as refused:
                raise Refused(f"{field}.{operator}: {refused}") from None
        return tuple(conditions)

    def _condition(self, field: str, operator: str, value: str | Sequence[str]) -> Condition:
        return Condition(field, operator, operand(self.columns, field, operator, value))

    def _sort_keys(self, text: str) -> tuple[SortKey, ...]:
        keys = [SortKey(part.removeprefix("-"), part.startswith("-")) for part in text.split(",")]
        names = _each_once([key.column for key in keys], self.columns)
        if "id" not in names:
            # The tiebreak makes the order total, so that no page repeats or skips a row.
            keys.append(SortKey("id", keys[-1].descending))
        return tuple(keys)

    def _fields(self, text: str) -> tuple[str, ...]:
        if not self.fields:
            raise Refused("The rows of this list are always whole.")
        names = _each_once(text.split(","), self.fields)
        # In their own order, so that each choice has one shape.
        return tuple(name for name in self.fields if name in names)

    def _deleted(self, text: str) -> str:
        if not self.has_soft_delete:
            raise Refused("This list holds no deleted rows.")
        if text not in {"exclude", "include", "only"}:
            raise Refused("Give include, only or exclude.")
        return text

    def _words(self, text: str) -> tuple[str, ...]:
        if not self.search:
            raise Refused("This resource has no searchable fields.")
        words = tuple(storable_text(text).split())
        if len(words) > MAX_WORDS:
            raise Refused(f"At most {MAX_WORDS} words are allowed.")
        return words


def bad_parameter(name: str, message: str) -> BadRequest:
    """A refusal of one query parameter; `message` says what would be right."""
    # RFC 6901, section 3.
    step = name.replace("~", "~0").replace("/", "~1")
    return BadRequest(
        f"The query parameter {name!r} is refused. {message}",
        errors=[FieldError(f"/{step}", "bad_parameter", message)],
    )


def _each_once(names: Sequence[str], allowed: Iterable[str]) -> Sequence[str]:
    for name in names:
        if name not in allowed:
            raise Refused(f"Unknown field {name!r}. Allowed: {', '.join(allowed)}.")
    if len(set(names)) < len(names):
        raise Refused("Name each field once.")
    return names
