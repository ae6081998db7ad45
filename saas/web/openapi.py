"""What Litestar's generated document lacks: bodies as they are really checked, problems, headers,
security, and which refusals each plane may answer with. Done once, on the finished document."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, NamedTuple

from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from saas.web.body_schemas import body_schemas, is_documentable
from saas.web.described import IDEMPOTENCY_KEY
from saas.web.documented_answers import HEADERS, PROBLEM, complete_answer, refusal

Json = dict[str, Any]

_SCHEMES: Json = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A tenant's: a short-lived JWT, or an API key (`sk_…`).",
    },
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "platform": {
        "type": "http",
        "scheme": "bearer",
        "description": "An operator's: the platform key, or a JWT of the platform's audience.",
    },
}
_SECURITY: dict[str, list[Json]] = {
    "tenant": [{"bearer": []}, {"apiKey": []}],
    "platform": [{"platform": []}],
    "open": [],
}
_TENANT_HEADER: Json = {
    "name": "X-Tenant-ID",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "Id or slug of the tenant. It only selects among those that the credential may "
    "enter; any other is answered 404.",
}
# What any route of a plane may answer with; the others stand in the route's own description.
_REFUSALS_OF_PLANE = {"tenant": (401, 403, 404, 429, 503), "platform": (401, 503), "open": ()}
_REFUSALS_OF_BODY = (400, 413, 415, 422)
_REFUSALS_OF_KEY = (400, 409, 413, 422)
_JSON = "application/json"
_FILE: Json = {"schema": {"type": "string", "format": "binary"}}


class _Operation(NamedTuple):
    """One operation of the document, and what the handler behind it says."""

    path: str
    method: str
    handler: HTTPRouteHandler
    document: Json

    @property
    def plane(self) -> str:
        return str(self.handler.opt.get("plane", "tenant"))

    @property
    def takes_key(self) -> bool:
        return self.method == "POST" and self.plane != "open"

    @property
    def taken(self) -> Any:
        """The type of the request body; None where there is none."""
        field = self.handler.parsed_data_field
        return None if field is None else field.raw

    @property
    def given(self) -> dict[int, Any]:
        """The type of each successful answer with a JSON body, by status."""
        declared = {status: spec.data_container for status, spec in self._declared.items()}
        if not declared:
            declared = {self.handler.status_code: self.handler.parsed_return_field.raw}
        return {s: b for s, b in declared.items() if b is not None and is_documentable(b)}

    @property
    def files(self) -> Json:
        """What its successful answer may be besides JSON, by media type."""
        return dict.fromkeys(self.handler.opt.get("gives", ()), _FILE)

    @property
    def successes(self) -> set[int]:
        return set(self._declared) or {self.handler.status_code}

    @property
    def _declared(self) -> Any:
        return self.handler.responses or {}


def complete_document(app: Litestar) -> Json:
    """The OpenAPI document of `app` as the API really answers."""
    document: Json = app.openapi_schema.to_schema()
    operations = list(_operations(app, document["paths"]))
    for operation in operations:
        _complete(operation)
    document["components"] = {
        "schemas": {**_put_bodies(operations), "Problem": PROBLEM},
        "headers": HEADERS,
        "parameters": {"X-Tenant-ID": _TENANT_HEADER},
        "responses": {
            str(status): refusal(status)
            for status in sorted({status for op in operations for status in _refusals(op)})
        },
        "securitySchemes": _SCHEMES,
    }
    return document


def _operations(app: Litestar, paths: Json) -> Iterator[_Operation]:
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            path = route.path_format or "/"
            for method, (handler, _) in route.route_handler_map.items():
                document = paths.get(path, {}).get(method.lower())
                if document is not None:
                    yield _Operation(path, str(method), handler, document)


def _complete(operation: _Operation) -> None:
    document, opt = operation.document, operation.handler.opt
    document["security"] = _SECURITY[operation.plane]
    if permission := opt.get("permission"):
        document["x-permission"] = str(permission)
    parameters = document.setdefault("parameters", [])
    for parameter in parameters:
        if parameter["in"] == "path" and parameter["name"].endswith("id"):
            # A handler takes it as text, so that a malformed one is answered as an absent one.
            parameter["schema"] = {"type": "string", "format": "uuid"}
    parameters.extend(opt.get("parameters", ()))
    if operation.takes_key:
        parameters.append(IDEMPOTENCY_KEY)
    if takes := opt.get("takes"):
        required = opt.get("needs_body", True)
        document["requestBody"] = {"required": required, "content": dict.fromkeys(takes, _FILE)}
    if operation.plane == "tenant":
        parameters.append({"$ref": "#/components/parameters/X-Tenant-ID"})
    _document_answers(operation)


def _document_answers(operation: _Operation) -> None:
    """Replace the generated refusals, which show Litestar's own error body, by problems, and the
    generated success where the handler has said its own."""
    document = operation.document
    found = document.get("responses", {})
    answers = {str(s): found[str(s)] for s in sorted(operation.successes) if str(s) in found}
    if any(p.get("name") == "If-None-Match" for p in document["parameters"]):
        answers["304"] = {"description": HTTPStatus.NOT_MODIFIED.phrase}
    for status, answer in answers.items():
        body = operation.given.get(int(status))
        complete_answer(answer, int(status), body, path=operation.path, plane=operation.plane)
        if files := operation.files:
            answer["content"] = files
    document["responses"] = answers | {
        str(status): {"$ref": f"#/components/responses/{status}"} for status in _refusals(operation)
    }


def _refusals(operation: _Operation) -> list[int]:
    statuses = {*_REFUSALS_OF_PLANE[operation.plane], *operation.handler.opt.get("refusals", ())}
    if "requestBody" in operation.document:
        statuses.update(_REFUSALS_OF_BODY)
    if operation.takes_key:
        statuses.update(_REFUSALS_OF_KEY)
    return sorted(statuses)


def _put_bodies(operations: list[_Operation]) -> Json:
    """Put the schema of every body in its place; gives the components that they refer to."""
    taken = [operation for operation in operations if operation.taken is not None]
    given = [(op, status) for op in operations for status in op.given]
    schemas, components = body_schemas(
        [operation.taken for operation in taken],
        [operation.given[status] for operation, status in given],
    )
    for operation, schema in zip(taken, schemas, strict=False):
        body = operation.document["requestBody"]
        content = body["content"] = {_JSON: {"schema": schema}}
        if operation.method == "PATCH":
            content["application/merge-patch+json"] = content[_JSON]
        body["required"] = not operation.handler.parsed_data_field.has_default  # type: ignore[union-attr]
    for (operation, status), schema in zip(given, schemas[len(taken) :], strict=True):
        content = {_JSON: {"schema": schema}} | operation.files
        operation.document["responses"][str(status)]["content"] = content
    return components
