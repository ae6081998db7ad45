"""Input that no field, id, query or header can mean, in every place of every route: a 4xx problem,
never a 500, and nothing is stored. The routes and the fields come from the running app."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from isolation.attacks import body_for, own_path, path_to
from isolation.bodies import with_value
from isolation.raw import Raw, rows_of
from isolation.surface import ROUTES, ROUTES_WITH_BODY, TENANT_ROUTES, Pointer, Route
from isolation.worlds import World

ROUTES_WITH_ID = [route for route in ROUTES if route.parameters and route.method != "OPTIONS"]
JSON = {"Content-Type": "application/json"}
_PLACE = "the value goes here"

# Refused in a field of whatever type, also where a text or any object would do.
NO_VALUES = {
    "no number": b"NaN",
    "infinity": b"Infinity",
    "minus infinity": b"-Infinity",
    "a bare word": b"undefined",
    "an integer of 400 digits": b"1" + b"0" * 400,
    "an integer of 5,000 digits": b"1" + b"0" * 5_000,
    "one more than 64 bits": b"9223372036854775808",
    "one less than 64 bits": b"-9223372036854775809",
    "a float out of range": b"1e400",
    "octal": b"010",
    "hexadecimal": b"0x10",
    "an escaped NUL": rb'"a\u0000b"',
    "a raw NUL": b'"a\x00b"',
    "a raw line break": b'"a\nb"',
    "no UTF-8": b'"a\xff\xfeb"',
    "an overlong slash": b'"\xc0\xaf"',
    "a surrogate in UTF-8": b'"\xed\xa0\x80"',
    "a lone high surrogate": rb'"\ud800"',
    "a lone low surrogate": rb'"\udc00"',
    "surrogates in the wrong order": rb'"\udc00\ud800"',
    "an unknown escape": rb'"\x41"',
    "a single quote": b"'a'",
    "a deep list": b"[" * 10_000 + b"]" * 10_000,
    "a deep object": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "an unclosed list": b"[" * 10_000,
    "nothing": b"",
}
NO_IDS = (
    "x",
    "0",
    "%00",
    "%FF%FE",
    "%ED%A0%80",
    "%E2%80%AE",
    "..%2F..%2Fetc%2Fpasswd",
    "%2E%2E",
    "a" * 10_000,
    "00000000-0000-0000-0000-000000000000",
    "{id}",
    "' OR 1=1 --",
    "0192f3a0-5b6c-7def-8abc-0123456789ab%00",
    "0192f3a0-5b6c-7def-8abc-0123456789ab%0A",
    "%D9%A0192f3a0-5b6c-7def-8abc-0123456789ab",
)
NO_QUERIES = (
    "%FF",
    "%00",
    "%ED%A0%80=%ED%A0%80",
    "limit=%00",
    "limit=1e400",
    "limit=" + "9" * 5_000,
    "limit=%D9%A1",
    "offset=-1",
    "sort=" + "name," * 1_000,
    "cursor=" + "A" * 50_000,
    "cursor=%FF",
    "&".join(f"name={number}" for number in range(1_000)),
    "x=" + "a" * 60_000,
    "created_at=0000-01-01T00:00:00Z",
    "created_at=10000-01-01T00:00:00Z",
    "created_at=2026-02-30T00:00:00Z",
    "created_at=2026-01-01T24:00:00Z",
    "created_at=2026-01-01T00:00:00%2B24:00",
    "created_at=2026-01-01T00:00:00%2B00:60",
    "tenant_id=" + quote("' OR '1'='1"),
    "hard=maybe",
)
NO_HEADERS: tuple[list[tuple[str, bytes]], ...] = (
    [("If-Match", b"")],
    [("If-Match", b"3")],
    [("If-Match", b'"\xff')],
    [("If-None-Match", b"'1'")],
    [("If-None-Match", b'"1" "2"')],
    [("X-Tenant-ID", b"\xff\xfe")],
    [("X-Tenant-ID", b"a" * 10_000)],
    [("X-Request-ID", b"\xff" * 1_000)],
    [("Accept", b"\xff")],
    [("Cookie", b"\xff=\xff; a")],
    [("Traceparent", b"\xff")],
    [("Content-Type", b"\xff")],
    [("Content-Type", b"application/json"), ("Content-Type", b"application/json")],
    [("Content-Encoding", b"gzip")],
    [("Idempotency-Key", b"\xff" * 1_000)],
    [("Range", b"bytes=0-1")],
    [("X-HTTP-Method-Override", b"DELETE")],
)


def assert_problem(answer: httpx.Response) -> None:
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    if answer.request.method != "HEAD":
        assert answer.json()["status"] == answer.status_code


@pytest.mark.parametrize("route", ROUTES_WITH_BODY, ids=str)
async def test_a_value_that_means_nothing_is_refused_in_every_field(
    route: Route, attacker: World, raw: Raw
) -> None:
    before = rows_of(raw, attacker.tenant_id)
    valid = body_for(route, attacker)
    path = own_path(route, attacker)

    for pointer in _leaves(valid):
        template = json.dumps(with_value(valid, pointer, _PLACE)).encode()
        for value in NO_VALUES.values():
            content = template.replace(json.dumps(_PLACE).encode(), value)
            answer = await attacker.caller(route.method, path, content=content, headers=JSON)
            assert_problem(answer)

    assert rows_of(raw, attacker.tenant_id) == before
    if route.is_generated:
        assert (await attacker.caller(route.method, path, json=valid)).is_success


@pytest.mark.changes_nothing
@pytest.mark.parametrize("route", ROUTES_WITH_ID, ids=str)
async def test_an_id_that_no_row_can_have_is_absent(
    route: Route, attacker: World, operator: Any, raw: Raw
) -> None:
    before = rows_of(raw, attacker.tenant_id)
    caller: Any = operator if route.plane == "platform" else attacker.caller

    for id in NO_IDS:
        # The body is refused for nothing, so that the answer is about the id.
        answer = await caller(route.method, path_to(route, id), json=body_for(route, attacker))
        assert_problem(answer)
        # An encoded .. is taken out of the path by some, and then leads to another route.
        assert answer.status_code in {404, 405}

    assert rows_of(raw, attacker.tenant_id) == before


@pytest.mark.changes_nothing
@pytest.mark.parametrize("route", [route for route in ROUTES if route.method == "GET"], ids=str)
async def test_a_query_that_means_nothing_is_refused_where_a_query_is_read(
    route: Route, attacker: World, operator: Any
) -> None:
    caller: Any = operator if route.plane == "platform" else attacker.caller
    path = own_path(route, attacker)
    plain = await caller("GET", path)

    for query in NO_QUERIES:
        for method in ("GET", "HEAD"):
            answer = await caller(method, f"{path}?{query}")
            # Probes and browsers add parameters of their own to what is open.
            if route.plane != "open":
                assert answer.status_code == 400
                assert_problem(answer)
            else:
                assert answer.status_code == plain.status_code


@pytest.mark.changes_nothing
@pytest.mark.parametrize("route", TENANT_ROUTES, ids=str)
async def test_a_header_that_means_nothing_is_refused_or_ignored(
    route: Route, attacker: World, http: httpx.AsyncClient, raw: Raw
) -> None:
    before = rows_of(raw, attacker.tenant_id)
    reads = route.method in {"GET", "HEAD"}
    # A write is refused without any header too: only the header could make it a success.
    path = own_path(route, attacker) if reads else path_to(route, "x")
    content = None if route.body is None else b"{}]"
    if not (reads or route.parameters or route.body):
        path += "?unknown="

    for headers in NO_HEADERS:
        credential = ("Authorization", f"Bearer {attacker.caller.key}".encode())
        answer = await http.request(
            route.method, path, headers=[credential, *headers], content=content
        )
        if not (reads and answer.is_success):
            assert_problem(answer)

    assert rows_of(raw, attacker.tenant_id) == before


def _leaves(value: Any, at: Pointer = ()) -> Iterator[Pointer]:
    """Where in a body a value stands that holds no others."""
    members: Any = ()
    if isinstance(value, dict):
        members = value.items()
    elif isinstance(value, list):
        members = enumerate(value)
    for name, member in members:
        yield from _leaves(member, (*at, name))
    if not members:
        yield at
