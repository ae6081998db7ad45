"""Conditions as Python says them: `where(status="pending", amount_cents__gte=100)`, in the words
of a list's query string (docs/queries.md) and held to the same allow-list."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeAlias

import msgspec
from sqlalchemy import Column

from saas.db.query import Condition, ListQuery, QueryGrammar, bad_parameter
from saas.db.query_values import operators_of


class Where(msgspec.Struct, frozen=True):
    """What `where` was given; it becomes a ListQuery where the repository's columns are known."""

    given: dict[str, Any]


Query: TypeAlias = ListQuery | Where | None


def where(**given: Any) -> Where:
    """`field=value` and `field__operator=value`, with values of the column's own type, and `sort`,
    `limit`, `offset`, `q`, `deleted`, `include_total`, `fields`; sort and fields also as a tuple of
    names. `field=None` finds nulls; `in` and `nin` take any iterable; `any_of={…}` takes conditions
    of which one must hold.

    A repository that is given it raises BadRequest, naming what is allowed, for a wrong name,
    operator, type or range."""
    return Where(given)


def as_query(query: Query, grammar: QueryGrammar) -> ListQuery:
    """The ListQuery that `query` means among the columns of `grammar`. Raises BadRequest."""
    if query is None:
        return grammar.parse(())
    if isinstance(query, ListQuery):
        return query
    if not isinstance(query, Where):
        raise TypeError(f"a query is made by where(…), not a {type(query).__name__}")
    conditions: list[Condition] = []
    options: list[tuple[str, str]] = []
    any_of: list[Condition] = []
    for name, value in query.given.items():
        if _field_of(name) in grammar.columns:
            conditions.append(_condition(grammar, name, value))
        elif name == "any_of":
            if not isinstance(value, Mapping):
                raise bad_parameter(name, "Give the conditions as a dict.")
            any_of = [_condition(grammar, one, value[one]) for one in value]
        else:
            # The grammar knows whether there is such an option; it takes all of them as text.
            options.append((name, _text(value)))
    parsed = grammar.parse(options)
    return msgspec.structs.replace(
        parsed, conditions=tuple(conditions), any_of=tuple(any_of) or parsed.any_of
    )


def _field_of(name: str) -> str:
    return name.partition("__")[0]


def _condition(grammar: QueryGrammar, name: str, value: Any) -> Condition:
    column = grammar.columns.get(_field_of(name))
    if column is None:
        raise bad_parameter(name, f"Unknown field. Allowed: {', '.join(grammar.columns)}.")
    operator = name.partition("__")[2] or "eq"
    name = f"{column.name}__{operator}"
    if value is None and operator in {"eq", "ne"}:
        name, operator, value = f"{column.name}__isnull", "isnull", operator == "eq"
    if operator not in operators_of(column):
        allowed = ", ".join(operators_of(column))
        raise bad_parameter(name, f"Unknown operator. Allowed: {allowed}.")
    if operator == "isnull":
        return Condition(column.name, operator, _checked(grammar, name, bool, value) == "true")
    if operator in {"in", "nin"}:
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise bad_parameter(name, "Give an iterable of values.")
        return Condition(
            column.name, operator, tuple(_typed(grammar, column, "eq", one) for one in value)
        )
    return Condition(column.name, operator, _typed(grammar, column, operator, value))


def _typed(grammar: QueryGrammar, column: Column[Any], operator: str, value: Any) -> Any:
    name = f"{column.name}__{operator}"
    text = _checked(grammar, name, column.type.python_type, value)
    # The one grammar for what a value may be: ranges, characters, patterns.
    (condition,) = grammar.parse([(name, text)]).conditions
    return condition.value


def _checked(grammar: QueryGrammar, name: str, wanted: type, value: Any) -> str:
    # To Python a bool is an int, and a datetime a date.
    is_other = isinstance(value, bool | datetime) and wanted not in {bool, datetime}
    # A whole number is a number wherever one is wanted.
    if wanted in {float, Decimal} and type(value) is int:
        return str(value)
    if is_other or not isinstance(value, wanted):
        raise bad_parameter(name, f"Give a {wanted.__name__}, not a {type(value).__name__}.")
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise bad_parameter(name, "Give a time with its zone.")
        return value.astimezone(UTC).isoformat()
    return _text(value)


def _text(value: Any) -> str:
    if isinstance(value, tuple | list):
        return ",".join(map(_text, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
