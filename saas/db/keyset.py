"""Keyset pages: the order of a list, the rows beyond a position in it, and where a page borders on
the next and the one before. Nulls come last in both directions of a sort."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    Column,
    ColumnElement,
    Select,
    Table,
    and_,
    bindparam,
    false,
    or_,
    tuple_,
)

from saas.db.query import ListQuery, SortKey

Position = tuple[Any, ...]


class Window(NamedTuple):
    """The rows of a page in the list's order, and the positions that its neighbours are read
    from, as `after` and `before` of a ListQuery; None where there is no such page."""

    rows: Sequence[Any]
    next_after: Position | None
    prev_before: Position | None


def window_of(rows: Sequence[Any], query: ListQuery, columns: Sequence[str]) -> Window:
    """The page in `rows` with these `columns`, as `keyset` has read them: in its order, and one row
    more than wanted where there are further ones.

    That rows stand on the side that the walk came from is known from the walk alone: they may be
    gone by now, and that neighbour empty.
    """
    has_more, page = len(rows) > query.limit, rows[: query.limit]
    places = [columns.index(key.column) for key in query.sort]
    if query.before is not None:
        page = page[::-1]
        # Behind an empty page stands nothing, so everything stands on the first one.
        behind = _position(page[-1], places) if page else ()
        return Window(
            page,
            next_after=behind if query.before else None,
            prev_before=_position(page[0], places) if has_more else None,
        )
    before = None
    if query.after or query.offset:
        before = _position(page[0], places) if page else ()
    return Window(page, _position(page[-1], places) if has_more else None, before)


def with_sort_columns(columns: tuple[str, ...], query: ListQuery) -> tuple[str, ...]:
    """`columns`, and those of the sort behind them, which positions are made of."""
    return (*columns, *(key.column for key in query.sort if key.column not in columns))


def keyset(chosen: Select[Any], table: Table, query: ListQuery) -> Select[Any]:
    """`chosen` from the query's position on, in its order; backwards where it asks for what is
    before a position."""
    backwards = query.before is not None
    position = query.before or query.after
    if position:
        chosen = chosen.where(beyond_sql(table, query.sort, position, backwards=backwards))
    return chosen.order_by(*order_of(table, query))


def order_of(table: Table, query: ListQuery) -> Iterator[ColumnElement[Any]]:
    """The query's order; the other way round where it asks for what is before a position."""
    backwards = query.before is not None
    for key in query.sort:
        column = table.c[key.column]
        is_descending = key.descending != backwards
        order = column.desc() if is_descending else column.asc()
        # PostgreSQL has nulls last in ascending order, first in descending order.
        if _may_be_null(column) and key.descending:
            order = order.nulls_first() if backwards else order.nulls_last()
        yield order


def beyond_sql(
    table: Table, sort: Sequence[SortKey], position: Sequence[Any], *, backwards: bool
) -> ColumnElement[bool]:
    """The rows behind `position` in the order of `sort`; before it, if `backwards`."""
    steps = [
        _Step(
            table.c[key.column],
            bindparam(f"a{number}", type_=table.c[key.column].type),
            is_null=value is None,
            is_upwards=key.descending == backwards,
            backwards=backwards,
        )
        for number, (key, value) in enumerate(zip(sort, position, strict=True))
    ]
    columns = [step.column for step in steps]
    if len({step.is_upwards for step in steps}) == 1 and not any(map(_may_be_null, columns)):
        # A row comparison is one index condition; the general form below is not.
        row, bound = tuple_(*columns), tuple_(*(step.value for step in steps))
        return row > bound if steps[0].is_upwards else row < bound
    beyond = steps[-1].beyond()
    for step in reversed(steps[:-1]):
        beyond = or_(step.beyond(), and_(step.level(), beyond))
    # It follows from the rest, but as a plain condition it lets an index begin at the position.
    return and_(*steps[0].bounds(), beyond)


class _Step(NamedTuple):
    """One sort column at a position: which rows are beyond it there, and which level with it."""

    column: Column[Any]
    value: ColumnElement[Any]
    is_null: bool
    is_upwards: bool
    backwards: bool

    def beyond(self) -> ColumnElement[bool]:
        if self.is_null:
            return self.column.is_not(None) if self.backwards else false()
        further = self.column > self.value if self.is_upwards else self.column < self.value
        if self.backwards or not _may_be_null(self.column):
            return further
        return or_(further, self.column.is_(None))

    def level(self) -> ColumnElement[bool]:
        return self.column.is_(None) if self.is_null else self.column == self.value

    def bounds(self) -> list[ColumnElement[bool]]:
        """A range of this column that holds every row beyond; none where there is no one range."""
        if self.is_null:
            return [] if self.backwards else [self.column.is_(None)]
        if _may_be_null(self.column) and not self.backwards:
            return []
        return [self.column >= self.value if self.is_upwards else self.column <= self.value]


def _may_be_null(column: Any) -> bool:
    # Expressions that stand for a column never are.
    return getattr(column, "nullable", False)


def _position(row: Any, places: Sequence[int]) -> Position:
    return tuple(row[place] for place in places)
