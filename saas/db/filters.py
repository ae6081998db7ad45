"""The conditions of a ListQuery as SQL, and the parameters that go with them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    ARRAY,
    Column,
    ColumnElement,
    Select,
    Table,
    all_,
    and_,
    any_,
    bindparam,
    false,
    literal_column,
    or_,
    tuple_,
)

from saas.db.query import Condition, ListQuery, SortKey

Parameter = ColumnElement[Any]

_OPERATORS: Mapping[str, Callable[[Column[Any], Parameter], ColumnElement[bool]]] = {
    "eq": lambda column, value: column == value,
    "ne": lambda column, value: column != value,
    "lt": lambda column, value: column < value,
    "lte": lambda column, value: column <= value,
    "gt": lambda column, value: column > value,
    "gte": lambda column, value: column >= value,
    "like": lambda column, value: column.like(value),
    "ilike": lambda column, value: column.ilike(value),
    "contains": lambda column, value: column.like(value),
    "icontains": lambda column, value: column.ilike(value),
    # ^@ is leakproof, so that an index may serve it under row-level security; LIKE is not.
    "startswith": lambda column, value: column.bool_op("^@")(value),
}


def matching(
    chosen: Select[Any], table: Table, query: ListQuery, search: Sequence[str]
) -> Select[Any]:
    """`chosen` narrowed to what the query asks for. The tenant is the caller's business."""
    if "deleted_at" in table.c and query.deleted != "include":
        deleted = table.c.deleted_at
        chosen = chosen.where(
            deleted.is_(None) if query.deleted == "exclude" else deleted.is_not(None)
        )
    for number, condition in enumerate(query.conditions):
        chosen = chosen.where(condition_sql(table, condition, f"f{number}"))
    for number in range(len(query.words)):
        chosen = chosen.where(word_sql(table, search, f"w{number}"))
    return chosen


def paged(
    chosen: Select[Any], table: Table, query: ListQuery, search: Sequence[str]
) -> Select[Any]:
    """One page of `matching` in the query's order, and one row more, which tells of a next page."""
    chosen = matching(chosen, table, query, search)
    if query.after is not None:
        chosen = chosen.where(after_sql(table, query.sort, query.after))
    chosen = ordered(chosen, table, query)
    if query.offset is not None:
        chosen = chosen.offset(bindparam("offset", query.offset))
    # Literal, so that the planner knows how few rows are wanted.
    return chosen.limit(literal_column(str(query.limit + 1)))


def ordered(chosen: Select[Any], table: Table, query: ListQuery) -> Select[Any]:
    """`chosen` in the query's order."""
    for key in query.sort:
        column = table.c[key.column]
        order = column.desc() if key.descending else column.asc()
        # Nulls sort last both ways; ascending order has them last by itself.
        chosen = chosen.order_by(
            order.nulls_last() if column.nullable and key.descending else order
        )
    return chosen


def condition_sql(table: Table, condition: Condition, name: str) -> ColumnElement[bool]:
    """The condition with its value as the parameter `name`."""
    column = table.c[condition.column]
    if condition.operator == "isnull":
        return column.is_(None) if condition.value else column.is_not(None)
    if condition.operator == "in":
        return column == any_(bindparam(name, type_=ARRAY(column.type)))
    if condition.operator == "nin":
        return column != all_(bindparam(name, type_=ARRAY(column.type)))
    return _OPERATORS[condition.operator](column, bindparam(name, type_=column.type))


def word_sql(table: Table, search: Sequence[str], name: str) -> ColumnElement[bool]:
    """The word `name` stands in one of the searchable columns, whatever its case."""
    return or_(*(table.c[column].ilike(bindparam(name)) for column in search))


def after_sql(
    table: Table, sort: Sequence[SortKey], position: Sequence[Any]
) -> ColumnElement[bool]:
    """The rows behind `position` in the order of `sort`, where nulls come last both ways."""
    columns = [table.c[key.column] for key in sort]
    values = [bindparam(f"a{n}", type_=column.type) for n, column in enumerate(columns)]
    directions = {key.descending for key in sort}
    if len(directions) == 1 and not any(column.nullable for column in columns):
        # A row comparison is one index condition; the general form below is not.
        row, bound = tuple_(*columns), tuple_(*values)
        return row < bound if directions == {True} else row > bound
    return or_(
        *(
            and_(
                *(_same(columns[m], values[m], position[m]) for m in range(n)),
                _behind(columns[n], values[n], position[n], descending=sort[n].descending),
            )
            for n in range(len(sort))
        )
    )


def parameters(query: ListQuery) -> dict[str, Any]:
    """The values for the parameters that the functions above have named."""
    values: dict[str, Any] = {}
    for number, condition in enumerate(query.conditions):
        values[f"f{number}"] = _pattern(condition)
    for number, word in enumerate(query.words):
        values[f"w{number}"] = f"%{_escaped(word)}%"
    for number, value in enumerate(query.after or ()):
        values[f"a{number}"] = value
    if query.offset is not None:
        values["offset"] = query.offset
    return values


def shape_of(query: ListQuery) -> tuple[Any, ...]:
    """Equal for two queries that differ in values only, and so share their SQL."""
    return (
        tuple((c.column, c.operator, c.value is True) for c in query.conditions),
        len(query.words),
        query.sort,
        query.deleted,
        query.limit,
        query.offset is None,
        query.after and tuple(value is None for value in query.after),
    )


def _same(column: Column[Any], value: Parameter, present: Any) -> ColumnElement[bool]:
    return column.is_(None) if present is None else column == value


def _behind(
    column: Column[Any], value: Parameter, present: Any, *, descending: bool
) -> ColumnElement[bool]:
    if present is None:
        return false()
    behind = column < value if descending else column > value
    return or_(behind, column.is_(None)) if column.nullable else behind


def _pattern(condition: Condition) -> Any:
    if condition.operator in {"contains", "icontains"}:
        return f"%{_escaped(condition.value)}%"
    if condition.operator in {"in", "nin"}:
        return list(condition.value)
    return condition.value


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
