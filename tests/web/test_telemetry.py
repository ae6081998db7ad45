"""Every answer, whatever made it, has its id, its headers, one log line and its numbers."""

import logging
from typing import Any
from uuid import UUID

import pytest
import structlog
from litestar import Request, Response, get
from litestar.params import FromPath
from litestar.response import Stream
from scratch import Log, call, client_of, edge, scratch_app, serving

from saas.context import Principal, RequestOrigin, acting_as
from saas.web.logs import configure_logging, output
from saas.web.metrics import Metrics, metrics_route
from saas.web.request_id import request_id

TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"


@get("/v1/things/{id:str}")
async def read_thing(request: Request[Any, Any, Any], id: FromPath[str]) -> dict[str, str]:
    request.scope["state"].update(tenant_id="tenant-1", actor="key:1")
    return {"id": id, "request_id": request_id(request.scope)}


@get("/v1/boom")
async def boom() -> None:
    raise RuntimeError("boom")


@get("/v1/own")
async def own_headers() -> Response[None]:
    headers = {
        "Cache-Control": "private, max-age=60",
        "Vary": "Accept-Encoding",
        "X-Request-ID": "of the app",
        "X-Frame-Options": "SAMEORIGIN",
    }
    return Response(None, headers=headers)


@get("/v1/broken")
async def break_off() -> Stream:
    async def parts() -> Any:
        yield b"half"
        raise RuntimeError("broke off")

    return Stream(parts())


@get("/livez", opt={"plane": "open"})
async def live() -> None: ...


ROUTES = [read_thing, boom, own_headers, break_off, live]


def requests_of(log: Log) -> list[dict[str, Any]]:
    return [line for line in log.lines if line["event"] == "request"]


@pytest.mark.parametrize(
    ("path", "status"), [("/v1/things/1", 200), ("/v1/nope", 404), ("/v1/boom", 500)]
)
async def test_every_answer_carries_id_and_headers(path: str, status: int) -> None:
    async with serving(ROUTES) as http:
        answer = await http.get(path, headers={"X-Request-ID": "r-1", "traceparent": TRACEPARENT})

    assert answer.status_code == status
    assert answer.headers.get_list("X-Request-ID") == ["r-1"]
    assert answer.headers["traceparent"] == TRACEPARENT
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Cache-Control"] == "private, no-store"
    assert answer.headers["Vary"] == "Authorization, X-API-Key, X-Tenant-ID"


async def test_refused_method_carries_them_too() -> None:
    async with serving(ROUTES) as http:
        answer = await http.delete("/v1/boom")

    assert (answer.status_code, answer.headers["Cache-Control"]) == (405, "private, no-store")
    assert answer.headers["X-Request-ID"] == answer.json()["instance"]


async def test_head_is_get_without_the_content(log: Log) -> None:
    async with serving(ROUTES) as http:
        full = await http.get("/v1/things/1", headers={"X-Request-ID": "one"})
        bare = await http.head("/v1/things/1", headers={"X-Request-ID": "one"})
        absent = await http.head("/v1/nothing")

    assert (bare.status_code, bare.content) == (200, b"")
    assert bare.headers == full.headers
    assert absent.status_code == 404
    assert [line["method"] for line in requests_of(log)] == ["GET", "HEAD", "HEAD"]


@pytest.mark.parametrize("path", ["//v1/things/1", "/v1//things/1"])
async def test_doubled_slashes_do_not_make_tenant_data_cacheable(path: str) -> None:
    sent = await call(edge(scratch_app(ROUTES)), path=path)

    assert sent[0]["status"] == 200
    assert (b"cache-control", b"private, no-store") in sent[0]["headers"]


async def test_headers_of_the_app_win_but_vary_keeps_our_names() -> None:
    async with serving(ROUTES) as http:
        answer = await http.get("/v1/own", headers={"X-Request-ID": "r-1"})
        open_answer = await http.get("/livez")

    assert answer.headers.get_list("Cache-Control") == ["private, max-age=60"]
    assert answer.headers.get_list("X-Frame-Options") == ["SAMEORIGIN"]
    assert answer.headers.get_list("X-Request-ID") == ["r-1"]
    assert {"Accept-Encoding", "Authorization"} <= set(answer.headers["Vary"].split(", "))
    assert "Cache-Control" not in open_answer.headers


@pytest.mark.parametrize(
    "sent",
    [[], [""], ["a b"], ["a\nb"], ["ä"], ["x" * 129], ["a,b"], ["one", "two"], ["same", "same"]],
)
async def test_request_id_that_is_not_one_plain_word_is_replaced(sent: list[str]) -> None:
    headers = [(b"x-request-id", value.encode("latin-1")) for value in sent]
    messages = await call(edge(scratch_app(ROUTES)), path="/livez", headers=headers)

    (made,) = [value for name, value in messages[0]["headers"] if name == b"x-request-id"]
    assert len(made) == 32
    assert made.isalnum()


@pytest.mark.parametrize("sent", ["a", "x" * 128, "A-Z.a_z-0.9"])
async def test_good_request_id_reaches_the_handler(sent: str) -> None:
    async with serving(ROUTES) as http:
        answer = await http.get("/v1/things/1", headers={"X-Request-ID": sent})

    assert answer.headers["X-Request-ID"] == answer.json()["request_id"] == sent


@pytest.mark.parametrize(
    "traceparent",
    [
        TRACEPARENT.upper(),
        TRACEPARENT + "-more",
        TRACEPARENT.replace("00-", "ff-", 1),
        TRACEPARENT.replace(TRACE, "0" * 32),
        TRACEPARENT.replace("b7ad6b7169203331", "0" * 16),
        TRACEPARENT + "\r\nX-Evil: 1",
    ],
)
async def test_malformed_traceparent_is_dropped(log: Log, traceparent: str) -> None:
    headers = [(b"traceparent", traceparent.encode())]
    messages = await call(edge(scratch_app(ROUTES)), path="/livez", headers=headers)

    assert b"traceparent" not in dict(messages[0]["headers"])
    assert requests_of(log)[0]["trace_id"] is None


async def test_one_line_says_who_called_what_and_nothing_that_was_in_it(log: Log) -> None:
    headers = {
        "X-Request-ID": "r-1",
        "traceparent": TRACEPARENT,
        "Authorization": "Bearer secret",
        "X-Forwarded-For": "6.6.6.6",
    }
    async with serving(ROUTES) as http:
        answer = await http.get("/v1/things/7?email=ada@acme.test", headers=headers)

    (line,) = requests_of(log)
    assert list(line)[:3] == ["at", "level", "event"]
    assert line.pop("at").endswith("Z")
    assert line.pop("duration_ms") > 0
    assert line == {
        "level": "info",
        "event": "request",
        "method": "GET",
        "path": "/v1/things/7",
        "route": "/v1/things/{id}",
        "status": 200,
        "bytes_out": len(answer.content),
        "request_id": "r-1",
        "trace_id": TRACE,
        "tenant": "tenant-1",
        "actor": "key:1",
        "ip": "127.0.0.1",
    }


@pytest.mark.parametrize(
    "path", ["/a\nb", "/a\r\n{}", "/\x1b[31m", "/\x9b31m", "/\u202e", "/\ud800", "/" + "x" * 9000]
)
async def test_hostile_path_is_one_short_printable_line(log: Log, path: str) -> None:
    await call(edge(scratch_app(ROUTES)), path=path)

    output.flush()
    raw = log.stream.getvalue()
    assert raw.count(b"\n") == 1
    assert raw.decode().rstrip("\n").isprintable()
    assert len(raw) < 3000
    assert requests_of(log)[0]["status"] == 404


async def test_broken_log_fails_no_request() -> None:
    class FullDisk:
        def write(self, line: bytes) -> int:
            raise OSError("No space left on device")

    configure_logging("info", FullDisk())  # type: ignore[arg-type]
    async with serving(ROUTES) as http:
        answer = await http.get("/livez")
        failed = await http.get("/v1/boom")

    assert (answer.status_code, failed.status_code) == (200, 500)


async def test_app_that_fails_before_its_answer_gets_a_problem(log: Log) -> None:
    async def failing(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("secret")

    async with client_of(edge(failing)) as http:
        answer = await http.get("/v1/x", headers={"X-Request-ID": "r-1"})
        head = await http.head("/v1/x")

    assert (answer.status_code, answer.json()["instance"]) == (500, "r-1")
    assert "secret" not in answer.text
    assert answer.headers["Cache-Control"] == "private, no-store"
    assert head.content == b""
    assert [line["event"] for line in log.lines if line.get("request_id") == "r-1"] == [
        "app_failed",
        "request",
    ]


async def test_answer_that_breaks_off_is_shown_to_the_server_and_in_the_log(log: Log) -> None:
    with pytest.raises(Exception, match="after response started"):
        await call(edge(scratch_app(ROUTES)), path="/v1/broken", received=[{"type": "x"}] * 9)

    (line,) = requests_of(log)
    assert (line["status"], line["bytes_out"], line["aborted"]) == (200, 4, True)
    (broken,) = [line for line in log.lines if line["event"] == "answer_broken_off"]
    assert "broke off" in broken["exception"]
    assert broken["request_id"]


async def test_request_without_an_answer_is_logged_as_closed_by_the_client(log: Log) -> None:
    async def silent(scope: Any, receive: Any, send: Any) -> None: ...

    await call(edge(silent), path="/v1/x")

    assert requests_of(log)[0]["status"] == 499


async def test_state_of_the_server_is_not_shared_between_requests() -> None:
    shared = {"of": "the server"}
    messages = await call(edge(scratch_app(ROUTES)), path="/v1/things/1", state=shared)

    assert messages[0]["status"] == 200
    assert shared == {"of": "the server"}


async def test_numbers_have_labels_from_closed_sets() -> None:
    metrics = Metrics()
    async with serving(ROUTES, metrics) as http:
        await http.get("/v1/things/1")
        await http.get("/v1/things/2")
        await http.get("/v1/nope")
        await http.request("BREW", "/v1/nope")

    text = metrics.exposition().decode()
    assert 'http_requests_total{method="GET",route="/v1/things/{id}",status="2xx"} 2.0' in text
    assert 'http_requests_total{method="GET",route="unmatched",status="4xx"} 1.0' in text
    assert 'http_requests_total{method="other",route="unmatched",status="4xx"} 1.0' in text
    assert 'duration_seconds_count{method="GET",route="/v1/things/{id}"} 2.0' in text
    assert "http_requests_in_flight 0.0" in text
    assert "BREW" not in text
    assert "things/1" not in text


@pytest.mark.parametrize(
    ("token", "authorization", "status"),
    [
        ("t0ken", "Bearer t0ken", 200),
        ("t0ken", "Bearer t0ke", 401),
        ("t0ken", "Bearer t0ken2", 401),
        ("t0ken", "t0ken", 401),
        ("t0ken", "Bearer tök", 401),
        ("t0ken", None, 401),
        (None, None, 401),
        (None, "Bearer None", 401),
        (None, "Bearer ", 401),
    ],
)
async def test_metrics_are_for_the_bearer_of_the_token(
    token: str | None, authorization: str | None, status: int
) -> None:
    metrics = Metrics()
    headers = {} if authorization is None else {"Authorization": authorization.encode("latin-1")}
    async with serving([metrics_route(metrics, token)], metrics) as http:
        answer = await http.get("/metrics", headers=headers)

    assert answer.status_code == status
    assert ("http_requests_in_flight 1.0" in answer.text) == (status == 200)
    assert ("WWW-Authenticate" in answer.headers) == (status == 401)


def test_other_events_have_the_same_shape_and_name_who_acts(log: Log) -> None:
    tenant = "0192f0c0-0000-7000-8000-000000000001"
    who = Principal(tenant_id=UUID(tenant), actor="system:job")
    with acting_as(who, RequestOrigin("r-1")):
        structlog.get_logger().info("imported", rows=3, odd=object, text="\ud800")
    structlog.get_logger().debug("too quiet")
    logging.getLogger("library").warning("of a %s", "library")

    imported, forwarded = log.lines
    assert list(imported)[:3] == ["at", "level", "event"]
    assert (imported["tenant"], imported["actor"], imported["request_id"]) == (
        tenant,
        "system:job",
        "r-1",
    )
    assert (forwarded["level"], forwarded["logger"], forwarded["event"]) == (
        "warning",
        "library",
        "of a library",
    )
