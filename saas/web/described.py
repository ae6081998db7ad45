"""What a route says of itself: its plane or permission for the middleware, and, for the OpenAPI
document, its parameters, its success and the refusals that it may answer with."""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any
from uuid import UUID

from litestar.openapi.datastructures import ResponseSpec
from sqlalchemy import Column

from saas.db.query import MAX_LIMIT, MAX_OFFSET, QueryGrammar
from saas.db.query_values import operators_of

Parameter = dict[str, Any]
OPERATORS = "x-operators"
"""Marks the parameter of a filter, and names its operators for programs."""


def described(
    name: str,
    summary: str,
    *,
    success: int,
    body: Any,
    permission: str | None = None,
    plane: str = "tenant",
    refusals: Iterable[int] = (),
    parameters: Iterable[Parameter] = (),
) -> dict[str, Any]:
    """The keyword arguments for Litestar's decorators. `name` reads `<tag>.<operation>`; a tenant
    route needs a `permission`. Refusals that every route of a plane shares are added to it."""
    opt: dict[str, Any] = {
        "plane": plane,
        "refusals": tuple(refusals),
        "parameters": tuple(parameters),
        "success": success,
    }
    if permission is not None:
        opt["permission"] = permission
    return {
        "name": name,
        "operation_id": name.replace(".", "_"),
        "summary": summary,
        "opt": opt,
        "tags": [name.partition(".")[0]],
        "responses": {success: ResponseSpec(body, description="Done", generate_examples=False)},
    }


def header_parameter(
    name: str, description: str, schema: Mapping[str, Any] | None = None
) -> Parameter:
    return _parameter(name, schema or {"type": "string"}, description, place="header")


def query_parameter(name: str, schema: Mapping[str, Any], description: str) -> Parameter:
    return _parameter(name, schema, description)


def _parameter(
    name: str, schema: Mapping[str, Any], description: str, *, place: str = "query"
) -> Parameter:
    return {
        "name": name,
        "in": place,
        "required": False,
        "schema": dict(schema),
        "description": description,
    }


def _list_parameter(name: str, allowed: Iterable[str], description: str) -> Parameter:
    """A comma list, each of `allowed` at most once."""
    items = {"type": "string", "enum": list(allowed)}
    schema = {"type": "array", "items": items, "minItems": 1, "uniqueItems": True}
    return _parameter(name, schema, description) | {"style": "form", "explode": False}


IF_MATCH = header_parameter("If-Match", "Only if the row still has this ETag, else 412.")
IF_NONE_MATCH = header_parameter("If-None-Match", "304 if the row still has this ETag.")
IDEMPOTENCY_KEY = header_parameter(
    "Idempotency-Key",
    "Makes the request repeatable for 24 hours: the same key and body get the first answer again, "
    "with Idempotency-Replayed: true. 409 while the first is running, 422 with another body.",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
)
AS_OF = query_parameter(
    "as_of", {"type": "string", "format": "date-time"}, "The row as it was at that time."
)
HARD = query_parameter("hard", {"type": "boolean"}, "Delete for good; needs the purge permission.")


def fields_parameter(grammar: QueryGrammar) -> Parameter:
    return _list_parameter("fields", grammar.fields, "Show only these fields.")


def list_parameters(grammar: QueryGrammar) -> list[Parameter]:
    """All that the list of one resource takes. Of each column only equality is a parameter of its
    own; its other operators stand beside it."""
    sorts = [direction + column for column in grammar.columns for direction in ("", "-")]
    parameters = [
        query_parameter(
            "limit",
            {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": 20},
            "Rows on a page.",
        ),
        query_parameter("cursor", {"type": "string"}, "next_cursor or prev_cursor of a page."),
        query_parameter(
            "offset",
            {"type": "integer", "minimum": 0, "maximum": MAX_OFFSET},
            "Instead of a cursor; adds offset and total to the answer.",
        ),
        query_parameter("include_total", {"type": "boolean"}, "Add the total to a cursor page."),
        _list_parameter("sort", sorts, "- is descending; a column once; nulls come last."),
        query_parameter("or", {"type": "string"}, _OR),
    ]
    if grammar.fields:
        parameters.append(fields_parameter(grammar))
    if grammar.search:
        searched = ", ".join(grammar.search)
        parameters.append(query_parameter("q", {"type": "string"}, f"Words in {searched}."))
    if grammar.has_soft_delete:
        schema = {"type": "string", "enum": ["exclude", "include", "only"]}
        parameters.append(
            query_parameter("deleted", schema, "Deleted rows; needs the write permission.")
        )
    return [*parameters, *map(_filter_parameter, grammar.columns.values())]


_OR = (
    "Rows for which one of up to 50 conditions holds, of the fields and operators below: "
    '(field.operator.value,field.in.(a,b)). An empty value, and one with any of , . ( ) ", stands '
    'in double quotes, where \\" and \\\\ are the two escapes.'
)


def _filter_parameter(column: Column[Any]) -> Parameter:
    allowed = operators_of(column)
    names = ", ".join(f"{column.name}__{operator}" for operator in allowed)
    schema = _SCHEMAS.get(column.type.python_type, {"type": "string"})
    parameter = query_parameter(column.name, schema, f"Equals. Also: {names}.")
    return parameter | {OPERATORS: list(allowed)}


_SCHEMAS: Mapping[type, Mapping[str, Any]] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    UUID: {"type": "string", "format": "uuid"},
    datetime: {"type": "string", "format": "date-time"},
    date: {"type": "string", "format": "date"},
}
