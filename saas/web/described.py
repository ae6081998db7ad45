"""What a route says of itself: its plane or permission for the middleware, and, for the OpenAPI
document, its parameters, its success and the refusals that it may answer with."""

from collections.abc import Iterable, Mapping
from typing import Any

from litestar.openapi.datastructures import ResponseSpec

from saas.db.query import MAX_LIMIT, MAX_OFFSET, QueryGrammar
from saas.web.filter_parameters import filter_parameters, sort_schema
from saas.web.preconditions import ENTITY_TAGS

Parameter = dict[str, Any]


def described(
    name: str,
    summary: str,
    *,
    success: int,
    body: Any,
    permission: str | None = None,
    own_permission: str | None = None,
    plane: str = "tenant",
    refusals: Iterable[int] = (),
    parameters: Iterable[Parameter] = (),
    takes: tuple[str, ...] = (),
    gives: tuple[str, ...] = (),
) -> dict[str, Any]:
    """The keyword arguments for Litestar's decorators. `name` reads `<tag>.<operation>`; a tenant
    route needs a `permission`, which is EVERYONE for what every credential may do. A member needs
    no more than `own_permission` on the row that he is himself. Refusals that every route of a
    plane shares are added. `takes` and `gives` are the media types of bodies that are files, which
    neither `data` nor `body` is; the file is kept on disk, unless `opt["receive"]` does it."""
    opt: dict[str, Any] = {
        "plane": plane,
        "refusals": tuple(refusals),
        "parameters": tuple(parameters),
        "success": success,
        "takes": takes,
        "gives": gives,
    }
    if permission is not None:
        opt["permission"] = permission
    if own_permission is not None:
        opt["own_permission"] = own_permission
    return {
        "name": name,
        "operation_id": name.replace(".", "_"),
        "summary": summary,
        "opt": opt,
        "tags": [name.partition(".")[0]],
        "responses": {success: ResponseSpec(body, description="Done", generate_examples=False)},
    }


def header_parameter(name: str, schema: Mapping[str, Any], description: str) -> Parameter:
    return _parameter(name, {"type": "string", **schema}, description, place="header")


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


_TAGS = {"pattern": ENTITY_TAGS, "examples": ['"1"']}
IF_MATCH = header_parameter("If-Match", _TAGS, "Only if the row still has this ETag, else 412.")
IF_NONE_MATCH = header_parameter("If-None-Match", _TAGS, "304 if the row still has this ETag.")
IDEMPOTENCY_KEY = header_parameter(
    "Idempotency-Key",
    {"minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    "Makes the request repeatable for 24 hours: the same key and body get the first answer again, "
    "with Idempotency-Replayed: true. 409 while the first is running, 422 with another body.",
)
AS_OF = query_parameter(
    "as_of", {"type": "string", "format": "date-time"}, "The row as it was at that time."
)
HARD = query_parameter("hard", {"type": "boolean"}, "Delete for good; needs the purge permission.")


def fields_parameter(grammar: QueryGrammar) -> Parameter:
    return _list_parameter(
        "fields", grammar.fields, "Show only these fields of a row; the others are left out."
    )


def list_parameters(grammar: QueryGrammar) -> list[Parameter]:
    """All that the list of one resource takes."""
    columns = ", ".join(grammar.columns)
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
        query_parameter(
            "sort", sort_schema(grammar), f"Comma list, - for descending, of: {columns}."
        ),
        query_parameter("or", {"type": "string", "pattern": r"^\(.+\)$"}, _OR),
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
    return [*parameters, *filter_parameters(grammar)]


_OR = (
    "Rows for which one of up to 50 conditions holds, of the fields and operators below: "
    '(field.operator.value,field.in.(a,b)). An empty value, and one with any of , . ( ) ", stands '
    'in double quotes, where \\" and \\\\ are the two escapes.'
)
