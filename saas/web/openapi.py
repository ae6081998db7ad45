"""What Litestar's generated document lacks: problem documents, security schemes, and which
refusals each plane may answer with. Done once, on the finished document."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from saas.web.described import IDEMPOTENCY_KEY
from saas.web.problems import MEDIA_TYPE

Json = dict[str, Any]

_PROBLEM: Json = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457. Further members depend on the code, such as current_version.",
    "required": ["type", "title", "status", "detail", "instance", "code"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
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
_SCHEMES: Json = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A short-lived JWT, or an API key (`sk_…`).",
    },
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
_SECURITY: dict[str, list[Json]] = {
    "tenant": [{"bearer": []}, {"apiKey": []}],
    "platform": [{"bearer": []}],
    "open": [],
}
# What any route of a plane may answer with; the others stand in the route's own description.
_REFUSALS_OF_PLANE = {"tenant": (401, 403, 404, 503), "platform": (401, 503), "open": ()}
_REFUSALS_OF_BODY = (400, 413, 415, 422)
_REFUSALS_OF_KEY = (400, 409, 413, 422)
_ALL_REFUSALS = (400, 401, 403, 404, 409, 412, 413, 415, 422, 428, 503)


def complete_document(app: Litestar) -> Json:
    """The OpenAPI document of `app` as the API really answers."""
    document: Json = app.openapi_schema.to_schema()
    components: Json = document.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = _PROBLEM
    components["securitySchemes"] = _SCHEMES
    components["responses"] = {str(status): _response(status) for status in _ALL_REFUSALS}
    for path, method, handler in _operations(app):
        operation = document["paths"].get(path, {}).get(method.lower())
        if operation is not None:
            _complete(operation, handler, method)
            _close(operation.get("requestBody", {}), components["schemas"])
    return document


def _operations(app: Litestar) -> Iterator[tuple[str, str, HTTPRouteHandler]]:
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            for method, (handler, _) in route.route_handler_map.items():
                yield route.path_format or "/", str(method), handler


def _complete(operation: Json, handler: HTTPRouteHandler, method: str) -> None:
    plane = handler.opt.get("plane", "tenant")
    operation["security"] = _SECURITY[plane]
    if permission := handler.opt.get("permission"):
        operation["x-permission"] = str(permission)
    content = operation.get("requestBody", {}).get("content", {})
    if method == "PATCH" and "application/json" in content:
        content["application/merge-patch+json"] = content["application/json"]
    if handler.parsed_data_field is not None and handler.parsed_data_field.has_default:
        operation["requestBody"]["required"] = False
    operation.setdefault("parameters", []).extend(handler.opt.get("parameters", ()))
    if method == "POST" and plane != "open":
        operation["parameters"].append(IDEMPOTENCY_KEY)
    _document_refusals(operation, handler, plane)


def _document_refusals(operation: Json, handler: HTTPRouteHandler, plane: str) -> None:
    """Replace the generated refusals, which show Litestar's own error body, by problems; and the
    generated success, where the handler has said its own."""
    refusals = {*_REFUSALS_OF_PLANE[plane], *handler.opt.get("refusals", ())}
    if "requestBody" in operation:
        refusals.update(_REFUSALS_OF_BODY)
    if IDEMPOTENCY_KEY in operation["parameters"]:
        refusals.update(_REFUSALS_OF_KEY)
    success = handler.opt.get("success")
    answers = {
        status: answer
        for status, answer in operation.get("responses", {}).items()
        if int(status) < 400 and success in (None, int(status))
    }
    if any(p["name"] == "If-None-Match" for p in operation["parameters"]):
        answers["304"] = {"description": HTTPStatus.NOT_MODIFIED.phrase}
    operation["responses"] = answers | {
        str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(refusals)
    }


def _close(node: Any, schemas: Json) -> None:
    """Say of each object inside a request body that it takes no other members: every Struct for
    input forbids unknown fields, but the generated schema does not tell."""
    if isinstance(node, list):
        for item in node:
            _close(item, schemas)
    if not isinstance(node, dict):
        return
    if name := node.get("$ref"):
        schema = schemas[name.removeprefix("#/components/schemas/")]
        if "additionalProperties" not in schema and "properties" in schema:
            schema["additionalProperties"] = False
            _close(schema, schemas)
        return
    for value in node.values():
        _close(value, schemas)


def _response(status: int) -> Json:
    return {
        "description": HTTPStatus(status).phrase,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
