"""A list's filters and sort as parameters of the OpenAPI document, as db/query reads them."""

import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Column

from saas.db.query import QueryGrammar
from saas.db.query_values import LIST_OPERATORS, MAX_LIST_VALUES, integer_bounds, operators_of

Parameter = dict[str, Any]
OPERATORS = "x-operators"
"""Marks the equality filter of a column, and names all its operators for programs."""

_SCHEMAS: Mapping[type, Mapping[str, Any]] = {
    str: {"type": "string"},
    float: {"type": "number"},
    Decimal: {"type": "number"},
    bool: {"type": "boolean"},
    UUID: {"type": "string", "format": "uuid"},
    datetime: {"type": "string", "format": "date-time"},
    date: {"type": "string", "format": "date"},
}


def filter_parameters(grammar: QueryGrammar) -> Iterator[Parameter]:
    """Equality of each column first, which is what people look for, then every operator."""
    for name, column in grammar.columns.items():
        equals = _parameter(name, _schema_of(column), "Equals.")
        yield equals | {OPERATORS: list(operators_of(column))}
    for column in grammar.columns.values():
        for operator in operators_of(column):
            yield _operator_parameter(column, operator)


def sort_schema(grammar: QueryGrammar) -> dict[str, Any]:
    """Each column once at most: `-name,id`, never `name,-name`."""
    key = f"-?(?:{'|'.join(map(re.escape, grammar.columns))})"
    no_name_twice = r"(?!(?:.*,)?-?([a-z0-9_]+),(?:.*,)?-?\1(?:,|$))"
    return {"type": "string", "pattern": f"^{no_name_twice}{key}(?:,{key})*$"}


def _operator_parameter(column: Column[Any], operator: str) -> Parameter:
    name = f"{column.name}__{operator}"
    if operator == "isnull":
        return _parameter(name, {"type": "boolean"}, "Whether it is null.")
    if operator in LIST_OPERATORS:
        values = {
            "type": "array",
            "items": _schema_of(column),
            "minItems": 1,
            "maxItems": MAX_LIST_VALUES,
        }
        return _parameter(name, values, "A comma list.") | {"style": "form", "explode": False}
    return _parameter(name, _schema_of(column), "")


def _schema_of(column: Column[Any]) -> dict[str, Any]:
    python_type = column.type.python_type
    if python_type is int:
        least, most = integer_bounds(column)
        return {"type": "integer", "minimum": least, "maximum": most}
    return dict(_SCHEMAS[python_type])


def _parameter(name: str, schema: Mapping[str, Any], description: str) -> Parameter:
    parameter = {"name": name, "in": "query", "required": False, "schema": dict(schema)}
    return parameter | ({"description": description} if description else {})
