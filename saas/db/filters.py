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
    any_,
    bindparam,
    literal_column,
    or_,
)

from saas.db.bound_types import without_length
from saas.db.keyset import keyset
from saas.db.query import Condition, ListQuery
from saas.db.query_values import LIST_OPERATORS

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
    if query.any_of:
        alternatives = enumerate(query.any_of)
        chosen = chosen.where(or_(*(condition_sql(table, c, f"g{n}") for n, c in alternatives)))
    for number in range(len(query.words)):
        chosen = chosen.where(word_sql(table, search, f"w{number}"))
    return chosen


def paged(
    chosen: Select[Any], table: Table, query: ListQuery, search: Sequence[str]
) -> Select[Any]:
    """One page of `matching` in the query's order, and one row more, which tells of a next page."""
    if sum(place is not None for place in (query.after, query.before, query.offset)) > 1:
        raise ValueError("give one of after, before and offset")
    chosen = keyset(matching(chosen, table, query, search), table, query)
    if query.offset is not None:
        chosen = chosen.offset(bindparam("offset", query.offset))
    # Literal, so that the planner knows how few rows are wanted.
    return chosen.limit(literal_column(str(query.limit + 1)))


def condition_sql(table: Table, condition: Condition, name: str) -> ColumnElement[bool]:
    """The condition with its value as the parameter `name`."""
    column = table.c[condition.column]
    if condition.operator == "isnull":
        return column.is_(None) if condition.value else column.is_not(None)
    if condition.operator in LIST_OPERATORS:
        values = bindparam(name, type_=ARRAY(without_length(column.type)))
        return column == any_(values) if condition.operator == "in" else column != all_(values)
    return _OPERATORS[condition.operator](column, bindparam(name, type_=column.type))


def word_sql(table: Table, search: Sequence[str], name: str) -> ColumnElement[bool]:
    """The word `name` stands in one of the searchable columns, whatever its case."""
    return or_(*(table.c[column].ilike(bindparam(name)) for column in search))


def parameters(query: ListQuery) -> dict[str, Any]:
    """The values for the parameters that the functions above have named."""
    values: dict[str, Any] = {}
    for number, condition in enumerate(query.conditions):
        values[f"f{number}"] = _pattern(condition)
    for number, condition in enumerate(query.any_of):
        values[f"g{number}"] = _pattern(condition)
    for number, word in enumerate(query.words):
        values[f"w{number}"] = f"%{_escaped(word)}%"
    for number, value in enumerate(query.before or query.after or ()):
        values[f"a{number}"] = value
    if query.offset is not None:
        values["offset"] = query.offset
    return values


def shape_of(query: ListQuery) -> tuple[Any, ...]:
    """Equal for two queries whose pages differ in values only, and so share their SQL."""
    return (
        filter_shape_of(query),
        query.sort,
        query.fields,
        query.limit,
        query.offset is None,
        query.after and tuple(value is None for value in query.after),
        query.before and tuple(value is None for value in query.before),
    )


def filter_shape_of(query: ListQuery) -> tuple[Any, ...]:
    """Equal for two queries that count alike but for values."""
    return (
        _shape_of(query.conditions),
        _shape_of(query.any_of) if query.any_of else (),
        len(query.words),
        query.deleted,
    )


def _shape_of(conditions: Sequence[Condition]) -> tuple[tuple[str, str, bool], ...]:
    # Of the values only the bool of isnull is in the SQL.
    return tuple([(c.column, c.operator, c.value is True) for c in conditions])


def _pattern(condition: Condition) -> Any:
    if condition.operator in {"contains", "icontains"}:
        return f"%{_escaped(condition.value)}%"
    if condition.operator in LIST_OPERATORS:
        return list(condition.value)
    return condition.value


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
