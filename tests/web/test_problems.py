"""Every refusal is one problem document, and no text of an exception gets out."""

import json
from typing import Annotated, Any

import msgspec
import pytest
from litestar import Request, get, post
from litestar.exceptions import ClientException, PermissionDeniedException
from litestar.params import FromPath, HeaderParameter, JSONBody, PathParameter, QueryParameter
from scratch import Log, call, edge, scratch_app, serving

from saas.errors import (
    AlreadyExists,
    FieldError,
    Invalid,
    NotFound,
    PermissionDenied,
    SaasError,
    Unavailable,
    VersionConflict,
)
from saas.web.problems import problem_bytes

JSON = {"Content-Type": "application/json"}


class Named(msgspec.Struct, forbid_unknown_fields=True):
    name: str


@get("/v1/refused/{code:str}")
async def refuse(code: FromPath[str]) -> None:
    errors: dict[str, Exception] = {
        "absent": NotFound(),
        "forbidden": PermissionDenied("things:write"),
        "busy": Unavailable(retry_after_seconds=7),
        "stale": VersionConflict(3),
        "invalid": Invalid(errors=[FieldError("/a~1b/0", "too_long", "Too long.")]),
        "bug": RuntimeError("constraint fk_secret DETAIL app.tenant_id"),
        "raw": SaasError("what only the log may say"),
        "bad": ClientException("Text of the framework"),
        "guard": PermissionDeniedException("Text of the framework"),
        "group": ExceptionGroup("cleanup", [AlreadyExists()]),
        "bugs": ExceptionGroup("cleanup", [RuntimeError("secret"), AlreadyExists()]),
    }
    raise errors[code]


@get("/v1/numbers/{number:int}")
async def read_number(number: Annotated[int, PathParameter(ge=1)]) -> dict[str, int]:
    return {"number": number}


@get("/v1/list")
async def list_things(
    limit: Annotated[int, QueryParameter(ge=1, le=100)],
    start: Annotated[int, QueryParameter(name="from")] = 0,
    data_only: Annotated[bool, QueryParameter()] = False,
    depth: Annotated[int, HeaderParameter(name="X-Depth")] = 0,
) -> dict[str, int]:
    return {"limit": limit}


@post("/v1/things", request_max_body_size=64)
async def make_thing(data: JSONBody[Named]) -> dict[str, str]:
    return {"name": data.name}


ROUTES = [refuse, read_number, list_things, make_thing]


def without_instance(body: bytes) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(body)
    assert document.pop("instance")
    return document


async def test_refusal_is_a_problem_with_the_request_id() -> None:
    async with serving(ROUTES) as http:
        answer = await http.get("/v1/refused/invalid", headers={"X-Request-ID": "r-1"})

    assert answer.status_code == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json() == {
        "type": "/problems/invalid",
        "title": "Invalid body",
        "status": 422,
        "detail": "The body is well-formed, but its content is refused. See errors.",
        "instance": "r-1",
        "code": "invalid",
        "errors": [{"pointer": "/a~1b/0", "code": "too_long", "message": "Too long."}],
    }


async def test_headers_and_further_members_of_an_error_are_sent() -> None:
    async with serving(ROUTES) as http:
        busy = await http.get("/v1/refused/busy")
        stale = await http.get("/v1/refused/stale")
        forbidden = await http.get("/v1/refused/forbidden")

    assert (busy.status_code, busy.headers["Retry-After"]) == (503, "7")
    assert stale.json()["current_version"] == 3
    assert forbidden.json()["permission"] == "things:write"


def test_further_members_never_replace_the_base_ones() -> None:
    error = NotFound(status=200, code="ok", instance="other", type="/x", hint="look elsewhere")

    problem = json.loads(problem_bytes(error, "r-1"))

    assert (problem["status"], problem["code"], problem["instance"]) == (404, "not_found", "r-1")
    assert (problem["type"], problem["hint"]) == ("/problems/not-found", "look elsewhere")


def test_text_that_has_no_utf8_form_is_left_out() -> None:
    problem = json.loads(problem_bytes(NotFound("\ud800", hint="\udfff"), "r-1"))

    assert problem["detail"] == NotFound.detail


@pytest.mark.parametrize(
    "path", ["/nope", "/v1/nope", "/v1/numbers/x", "/v1/numbers/0", "/docs/nope", "/docs/..%2Fx"]
)
async def test_unknown_route_and_malformed_id_answer_as_an_absent_row(path: str) -> None:
    async with serving(ROUTES) as http:
        absent = await http.get("/v1/refused/absent", headers={"X-Request-ID": "r-1"})
        answer = await http.get(path, headers={"X-Request-ID": "r-1"})

    assert (answer.status_code, answer.content) == (404, absent.content)


@pytest.mark.parametrize("method", ["DELETE", "BREW"])
async def test_unsupported_method_names_the_others(method: str) -> None:
    async with serving(ROUTES) as http:
        answer = await http.request(method, "/v1/list")

    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert "GET" in answer.headers["Allow"]


async def test_problem_for_head_has_no_body() -> None:
    async with serving(ROUTES) as http:
        answer = await http.head("/nope")

    assert (answer.status_code, answer.content) == (404, b"")
    assert int(answer.headers["Content-Length"]) > 0


@pytest.mark.parametrize("code", ["bug", "raw", "bugs"])
async def test_bug_is_logged_once_and_not_told(log: Log, code: str) -> None:
    async with serving(ROUTES) as http:
        answer = await http.get(f"/v1/refused/{code}", headers={"X-Request-ID": "r-1"})

    assert answer.status_code == 500
    assert without_instance(answer.content) == without_instance(problem_bytes(SaasError(), "r-1"))
    (event,) = [line for line in log.lines if "exception" in line]
    assert (event["event"], event["level"]) == ("unhandled_error", "error")
    assert (event["request_id"], event["route"]) == ("r-1", "/v1/refused/{code}")
    assert "Traceback" in event["exception"]


@pytest.mark.parametrize(("code", "status"), [("bad", 400), ("guard", 400), ("group", 409)])
async def test_words_of_the_framework_are_not_passed_on(log: Log, code: str, status: int) -> None:
    async with serving(ROUTES) as http:
        answer = await http.get(f"/v1/refused/{code}")

    assert answer.status_code == status
    assert "framework" not in answer.text
    assert not [line for line in log.lines if "exception" in line]


@pytest.mark.parametrize(
    ("query", "faults"),
    [
        ("", [("/limit", "missing_field")]),
        ("limit=0", [("/limit", "out_of_range")]),
        ("limit=x&from=y", [("/limit", "wrong_type"), ("/from", "wrong_type")]),
        ("limit=1&data_only=z", [("/data_only", "wrong_type")]),
    ],
)
async def test_refused_query_names_the_parameters(
    query: str, faults: list[tuple[str, str]]
) -> None:
    async with serving(ROUTES) as http:
        good = await http.get("/v1/list?limit=5&from=1")
        answer = await http.get(f"/v1/list?{query}")

    assert good.status_code == 200
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert [(e["pointer"], e["code"]) for e in answer.json()["errors"]] == faults


async def test_refused_header_is_called_by_its_own_name() -> None:
    async with serving(ROUTES) as http:
        answer = await http.get("/v1/list?limit=5", headers={"X-Depth": "deep"})

    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/X-Depth")


async def test_body_over_the_limit_is_413_announced_or_not() -> None:
    async def chunks() -> Any:
        yield b'{"name": "'
        yield b"x" * 64

    async with serving(ROUTES) as http:
        announced = await http.post("/v1/things", content=b"x" * 65, headers=JSON)
        streamed = await http.post("/v1/things", content=chunks(), headers=JSON)

    assert [announced.status_code, streamed.status_code] == [413, 413]
    assert announced.json()["code"] == "content_too_large"
    assert announced.json()["detail"] == "This route takes a body of 64 bytes at most."


async def test_client_that_leaves_while_sending_is_no_error_of_ours(log: Log) -> None:
    @post("/v1/read")
    async def read(request: Request[Any, Any, Any]) -> None:
        await request.body()

    half = {"type": "http.request", "body": b"half", "more_body": True}
    start, body = await call(edge(scratch_app([read])), "POST", "/v1/read", [half])

    (line,) = log.lines
    assert (line["event"], line["status"], line["level"]) == ("request", 400, "info")
    assert start["status"] == 400
    assert b"ended before it was whole" in body["body"]
