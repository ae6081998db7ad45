"""Every refusal as an RFC 9457 problem document. No text of an exception that is not a SaasError
reaches a body: it may name constraints, columns, paths or another tenant's values."""

import re
from collections.abc import Callable
from typing import Any

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from saas.db.value_faults import escaped, fault_code
from saas.errors import (
    BadRequest,
    FieldError,
    MethodNotAllowed,
    NotFound,
    SaasError,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UnsupportedMediaType,
)
from saas.web.answer import Answer
from saas.web.options import allowed
from saas.web.request_id import request_id

MEDIA_TYPE = "application/problem+json"

AnyRequest = Request[Any, Any, Any]
_encode = msgspec.json.Encoder(enc_hook=str).encode
_MISSING_PARAMETER = re.compile(r"Missing required \w+ parameter '([^']*)'")
_BY_STATUS: dict[int, Callable[[], SaasError]] = {
    401: Unauthenticated,
    404: NotFound,
    415: UnsupportedMediaType,
    503: Unavailable,
}


def problem_bytes(error: SaasError, request_id: str) -> bytes:
    """The problem document of `error`; members of its `extra` never replace ours."""
    problem: dict[str, Any] = {
        "type": f"/problems/{error.code.replace('_', '-')}",
        "title": error.title,
        "status": error.status,
        "detail": error.message,
        "instance": request_id,
        "code": error.code,
    }
    if error.errors:
        problem["errors"] = [fault._asdict() for fault in error.errors]
    try:
        return _encode(problem | {k: v for k, v in error.extra.items() if k not in problem})
    except UnicodeEncodeError:  # A lone surrogate, echoed from the caller, has no UTF-8 form.
        problem["detail"] = error.detail
        problem.pop("errors", None)
        return _encode(problem)


def problem_answer(error: SaasError, request_id: str) -> Answer:
    """The problem as an answer, for where no exception handler of Litestar comes after."""
    headers = [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
    content_type = (b"content-type", MEDIA_TYPE.encode())
    return Answer(error.status, problem_bytes(error, request_id), [content_type, *headers])


def _refuse(request: AnyRequest, error: SaasError) -> Response[bytes]:
    if error.status == 500:
        return _fail(request, error)
    return _respond(request, error)


def _refuse_http(request: AnyRequest, error: HTTPException) -> Response[bytes]:
    """Litestar's own refusals, by status: what they say of the request is not passed on."""
    if isinstance(error, ValidationException):
        return _respond(request, _refused_parameters(request, error))
    if error.status_code == 405:
        found = (error.headers or {}).get("allow", "")
        return _respond(request, MethodNotAllowed(headers={"Allow": allowed(found.split(", "))}))
    if error.status_code == 413:
        most = request.route_handler.resolve_request_max_body_size() or 0
        return _respond(request, TooLarge(f"This route takes a body of {most:,} bytes at most."))
    if make := _BY_STATUS.get(error.status_code):
        return _respond(request, make())
    if error.status_code < 500:
        return _respond(request, BadRequest())
    return _fail(request, error)


def _fail(request: AnyRequest, error: Exception) -> Response[bytes]:
    """A bug: the log gets all of it, the caller the id to ask for."""
    structlog.get_logger().error(
        "unhandled_error",
        exc_info=error,
        request_id=request_id(request.scope),
        method=request.method,
        route=request.scope.get("path_template"),
    )
    return _respond(request, SaasError())


def _fail_group(request: AnyRequest, group: ExceptionGroup[Exception]) -> Response[bytes]:
    """Litestar wraps what a dependency raises while an exception passes through it."""
    inner = group.exceptions[0]
    if len(group.exceptions) == 1 and isinstance(inner, SaasError):
        return _refuse(request, inner)
    return _fail(request, group)


def _respond(request: AnyRequest, error: SaasError) -> Response[bytes]:
    body = problem_bytes(error, request_id(request.scope))
    return Response(
        b"" if request.method == "HEAD" else body,
        status_code=error.status,
        media_type=MEDIA_TYPE,
        headers={**error.headers, "Content-Length": str(len(body))},
    )


def _refused_parameters(request: AnyRequest, error: ValidationException) -> SaasError:
    if missing := _MISSING_PARAMETER.match(error.detail):
        pointer = f"/{escaped(missing[1])}"
        return BadRequest(errors=[FieldError(pointer, "missing_field", "It is required.")])
    faults: list[FieldError] = []
    for entry in error.extra if isinstance(error.extra, list) else []:
        name, source = entry.get("key", ""), entry.get("source")
        if source == "path":
            # A malformed id answers as an absent one, so that ids tell nothing.
            return NotFound()
        if name == "data":
            # StrictRequest has checked every body that there is, so this one is empty.
            return BadRequest("The body is empty. Send a JSON document.")
        reason = entry["message"]
        pointer = f"/{escaped(_sent_name(request, name))}"
        faults.append(FieldError(pointer, fault_code(reason), f"{reason}."))
    return BadRequest("A parameter is refused. See errors.", errors=faults)


def _sent_name(request: AnyRequest, name: str) -> str:
    """What the caller calls the parameter that the handler knows as `name`."""
    field = request.route_handler.parsed_fn_signature.parameters.get(name)
    definition = field.kwarg_definition if field else None
    for alias in ("name", "query", "header", "cookie"):
        if found := getattr(definition, alias, None):
            return str(found)
    return name


exception_handlers: dict[int | type[Exception], Callable[[AnyRequest, Any], Response[bytes]]] = {
    SaasError: _refuse,
    HTTPException: _refuse_http,
    ExceptionGroup: _fail_group,
    Exception: _fail,
}
