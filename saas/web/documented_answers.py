"""What the OpenAPI document says of answers whatever the route: problems, and headers."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from saas.web.pages import ListBody
from saas.web.problems import MEDIA_TYPE

Json = dict[str, Any]

PROBLEM: Json = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457. Further members depend on the code, such as current_version.",
    "required": ["type", "title", "status", "detail", "instance", "code"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string"},
        "instance": {"type": "string", "description": "The request id, as in X-Request-ID."},
        "code": {"type": "string", "description": "A stable word for programs."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "code", "message"],
                "properties": {
                    "pointer": {"type": "string", "format": "json-pointer"},
                    "code": {"type": "string"},
                    "message": {"type": "string"},
                },
            },
        },
    },
}


def _header(description: str, schema: Json) -> Json:
    return {"description": description, "required": True, "schema": {"type": "string", **schema}}


HEADERS: Json = {
    "Allow": _header("The methods of the path.", {"pattern": "^[A-Z]+(, [A-Z]+)*$"}),
    "Cache-Control": _header("RFC 9111. Never stored by a shared cache.", {}),
    # A row as it was at another time has none.
    "ETag": _header(
        "The version of the row, strong (RFC 9110, 8.8.3).", {"pattern": '^"[1-9][0-9]*"$'}
    )
    | {"required": False},
    "Link": _header("The next page (RFC 8288), while there is one.", {}) | {"required": False},
    "Location": _header("The new row.", {"format": "uri-reference"}),
    "RateLimit": _header(
        "What is left (IETF httpapi), where the tenant has a limit.",
        {"pattern": '^"requests";r=[0-9]+;t=[0-9]+$'},
    )
    | {"required": False},
    "RateLimit-Policy": _header(
        "Requests a second (IETF httpapi), where the tenant has a limit.",
        {"pattern": '^"requests";q=[0-9]+;w=1$'},
    )
    | {"required": False},
    # Not with a quota: waiting does not help there.
    "Retry-After": _header("Seconds to wait.", {"pattern": "^[0-9]+$"}) | {"required": False},
    "Vary": _header("What else the answer depends on.", {}),
    "WWW-Authenticate": _header("RFC 6750.", {"pattern": "^Bearer"}),
    "X-Request-ID": _header(
        "The caller's, if it is well formed, else a new one.",
        {"pattern": "^[A-Za-z0-9._-]{1,128}$"},
    ),
}
_OF_STATUS = {
    201: ("Location",),
    304: ("ETag",),
    401: ("WWW-Authenticate",),
    405: ("Allow",),
    429: ("Retry-After",),
    503: ("Retry-After",),
}
_OF_API = ("Cache-Control", "Vary")
_OF_TENANT = ("RateLimit", "RateLimit-Policy")


def refusal(status: int) -> Json:
    """The component for a refusal; every route that may refuse so refers to it."""
    return {
        "description": HTTPStatus(status).phrase,
        "headers": _headers(_OF_STATUS.get(status, ())),
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


def complete_answer(answer: Json, status: int, body: Any, *, path: str, plane: str) -> None:
    """Add the headers that an answer of this status and body carries on `path`."""
    names = [*_OF_STATUS.get(status, ()), *(_OF_API if path.startswith("/v1/") else ())]
    if plane == "tenant":
        names += _OF_TENANT
    kind = getattr(body, "__origin__", body)
    if "version" in getattr(kind, "__struct_fields__", ()):
        names.append("ETag")
    if kind is ListBody:
        names.append("Link")
    answer["headers"] = {**_headers(names), **answer.get("headers", {})}


def _headers(names: Iterable[str]) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in (*names, "X-Request-ID")}
