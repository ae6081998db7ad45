"""Requests that no HTTP client would send, over a socket to the real server: each is refused or
answered as what it is, none smuggles a second one, and the server goes on serving."""

import json
import re
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest

from live_server import LiveServer, live_server
from processes import wait_until
from saas.dev.postgres import EmbeddedPostgres
from saas.settings import Settings

BODY = b'{"name":"Smuggled"}'
LENGTH = b"Content-Length: %d" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked"
CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
SECOND = b"\r\n".join((b"POST /v1/projects HTTP/1.1", b"Host: x", LENGTH, b"", BODY))
CLOSE = b"Connection: close"
JSON = b"Content-Type: application/json"
POST = b"POST /v1/projects HTTP/1.1"
LIST = b"GET /v1/projects?limit=1 HTTP/1.1"
# More than the sockets between server and client hold.
MANY = (
    "INSERT INTO projects (tenant_id, name, description, created_by, updated_by) "
    "SELECT %s, 'p' || n, repeat('x', 4000), 'a', 'a' FROM generate_series(1, 2500) AS n"
)
END_OF_READERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'saas_app' "
    "AND query LIKE 'FETCH FORWARD%' AND state_change < now() - interval '0.3 s'"
)


@pytest.fixture(scope="module")
def server(postgres: EmbeddedPostgres, settings: Settings) -> Iterator[LiveServer]:
    with live_server(postgres, settings, "raw_requests") as server:
        yield server


def exchange(
    server: LiveServer, start: bytes, *headers: bytes, body: bytes = b"", is_cut: bool = False
) -> bytes:
    """All that comes back until the server closes. `is_cut`: the client sends no more."""
    credential = b"Authorization: Bearer " + server.key.encode()
    lines = b"\r\n".join((start, b"Host: x", credential, *headers))
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(lines + b"\r\n\r\n" + body)
        if is_cut:
            connection.shutdown(socket.SHUT_WR)
        received = b""
        while part := connection.recv(65_536):
            received += part
    return received


def statuses(received: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] ([0-9]{3})", received)]


def stored(server: LiveServer) -> int:
    with psycopg.connect(server.database) as database:
        row = database.execute("SELECT count(*) FROM audit_log").fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        # The server refuses these by itself, without a word.
        ((b"Content-Length: 5", LENGTH), BODY, 400),
        ((b"Content-Length: -1",), b"", 400),
        ((b"Content-Length: +19",), BODY, 400),
        ((b"Content-Length: 0x13",), BODY, 400),
        ((b"Content-Length: 99999999999999999999999",), BODY, 400),
        ((b"Transfer-Encoding: xchunked",), CHUNKS, 400),
        ((b"Transfer-Encoding : chunked",), CHUNKS, 400),
        ((CHUNKED, b"Transfer-Encoding: identity"), CHUNKS, 400),
        ((b"Transfer-Encoding: gzip, chunked, identity",), CHUNKS, 400),
        ((LENGTH, b" folded: x"), BODY, 400),
        ((LENGTH, b"no colon"), BODY, 400),
        ((LENGTH, b"X-Nul: a\0b"), BODY, 400),
        # These come as far as the app.
        ((b"Content-Length: 5",), BODY, 400),
        ((b"Content-Length: 10000001",), BODY, 413),
        ((CHUNKED,), b"zz\r\n" + CHUNKS, 400),
        ((CHUNKED,), b"-1\r\n" + CHUNKS, 400),
        ((CHUNKED,), b"ffffffffffffffffff\r\n" + BODY, 400),
        ((CHUNKED,), b"f4240\r\n" + b" " * 1_000_000 + b"\r\n" + b"0\r\n\r\n", 400),
        ((b"Content-Encoding: gzip", LENGTH), BODY, 415),
    ],
)
async def test_body_of_a_false_length_is_refused_and_nothing_is_stored(
    server: LiveServer, headers: tuple[bytes, ...], body: bytes, status: int
) -> None:
    before = stored(server)

    received = exchange(server, POST, JSON, CLOSE, *headers, body=body)

    assert statuses(received) == [status]
    assert stored(server) == before


@pytest.mark.parametrize(
    ("header", "body"), [(b"Content-Length: 100", BODY), (CHUNKED, CHUNKS[:-5])]
)
async def test_body_that_breaks_off_is_refused_and_nothing_is_stored(
    server: LiveServer, header: bytes, body: bytes
) -> None:
    before = stored(server)

    received = exchange(server, POST, JSON, header, body=body, is_cut=True)

    # The server may also take the end of the sending for the end of the connection.
    assert statuses(received) in ([], [400])
    assert stored(server) == before


async def test_two_lengths_at_once_let_no_second_request_through(server: LiveServer) -> None:
    # Whoever stands in front and believes the one would take the rest for another's request.
    before = stored(server)

    by_chunks = exchange(server, POST, JSON, CHUNKED, LENGTH, body=b"0\r\n\r\n" + SECOND)
    by_length = exchange(server, POST, JSON, LENGTH, CHUNKED, body=b"0\r\n\r\n" + SECOND)

    assert (statuses(by_chunks), statuses(by_length)) == ([400], [400])
    assert stored(server) == before


async def test_body_of_eleven_megabytes_in_chunks_is_refused(server: LiveServer) -> None:
    chunk = b"f4240\r\n" + b" " * 1_000_000 + b"\r\n"
    credential = b"Authorization: Bearer " + server.key.encode()
    head = b"\r\n".join((POST, b"Host: x", credential, JSON, CHUNKED))
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(head + b"\r\n\r\n" + chunk * 10)
        connection.sendall(b"1\r\n \r\n")
        received = connection.recv(65_536)

    assert statuses(received) == [413]


@pytest.mark.parametrize(
    ("start", "headers", "status"),
    [
        (LIST, (), 200),
        (b"GET /v1/projects?limit=1 HTTP/1.0", (), 200),
        (b"GET http://elsewhere/v1/projects?limit=1 HTTP/1.1", (), 200),
        (b"GET /v1/projects/?limit=1 HTTP/1.1", (), 200),
        (b"HEAD /v1/projects?limit=1 HTTP/1.1", (), 200),
        (LIST, (b"X-Request-ID: \xff\xfe",), 200),
        (LIST, (b"X-Long: " + b"a" * 100_000,), 200),
        (LIST, (b"X-Many: a",) * 1_000, 431),
        (b"GET /v1/projects?q=" + b"a" * 100_000 + b" HTTP/1.1", (), 414),
        (b"GET /v1/projects?q=\xff HTTP/1.1", (), 400),
        (b"GET /v1/\xff HTTP/1.1", (), 400),
        (b"GET /v1/projects?q=%FF HTTP/1.1", (), 400),
        (b"GET /v1/projects/%FF HTTP/1.1", (), 404),
        (b"GET /v1/projects/%00 HTTP/1.1", (), 404),
        (b"GET /v1/projects/%zz HTTP/1.1", (), 404),
        (b"GET /v1/projects/" + b"a" * 60_000 + b" HTTP/1.1", (), 404),
        (b"GET /v1/projects/../stats HTTP/1.1", (), 404),
        (b"GET /docs/../../../etc/passwd HTTP/1.1", (), 404),
        (b"GET /docs/..%2f..%2fetc%2fpasswd HTTP/1.1", (), 404),
        (b"GET /v1/projects;a=b HTTP/1.1", (), 404),
        (b"GET /v1\\projects HTTP/1.1", (), 404),
        (b"GET /v1/projects x HTTP/1.1", (), 400),
        (b"GET /v1/projects HTTP/3.0", (), 400),
        (b"GET /v1/projects", (), 400),
        (b"OPTIONS * HTTP/1.1", (), 404),
        (b"CONNECT elsewhere:80 HTTP/1.1", (), 404),
        (b"TRACE /v1/projects HTTP/1.1", (), 405),
        (b"get /v1/projects HTTP/1.1", (), 405),
        (b"FROB /v1/projects HTTP/1.1", (), 405),
        (LIST, (b"Authorization: Bearer \xff",), 401),
        (LIST, (b"X-API-Key: sk_x",), 401),
        (LIST, (b"X-Tenant-ID: \xff",), 404),
        (LIST, (b"X-Tenant-ID: a", b"X-Tenant-ID: a"), 404),
    ],
)
async def test_odd_request_is_answered_as_what_it_is(
    server: LiveServer, start: bytes, headers: tuple[bytes, ...], status: int
) -> None:
    received = exchange(server, start, CLOSE, *headers)

    assert statuses(received) == [status]
    head, _, body = received.partition(b"\r\n\r\n")
    # What is no HTTP, or too long for it, never reaches the app: the server answers without a body.
    if status >= 400 and body:
        assert b"application/problem+json" in head
        assert json.loads(body)["status"] == status


def test_export_that_breaks_off_has_no_end(server: LiveServer) -> None:
    """RFC 9112, 8: without the last chunk no client takes the file for whole."""
    export = b"GET /v1/projects/export HTTP/1.1"
    with psycopg.connect(server.database, autocommit=True) as database:
        tenant = database.execute("SELECT id FROM tenants").fetchone()
        assert tenant is not None
        # Without the audit log, which would take most of the time.
        database.execute("SET session_replication_role = replica")
        database.execute(MANY, tenant)
        whole = exchange(server, export, CLOSE)

        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            key = b"Authorization: Bearer " + server.key.encode()
            connection.sendall(b"\r\n".join((export, b"Host: x", key, b"", b"")))
            received = connection.recv(1_000)
            wait_until(lambda: database.execute(END_OF_READERS).fetchall() != [])
            while part := connection.recv(65_536):
                received += part

    assert whole.endswith(b"\r\n0\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 200")
    assert 1_000_000 < len(received) < len(whole)
    assert not received.endswith(b"\r\n0\r\n\r\n")


def test_idle_connections_of_one_caller_keep_nobody_out(server: LiveServer) -> None:
    many = 1_100
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2 * many:
        pytest.skip(f"this system lets a process have {hard} open files at most")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * many), hard))
    with ExitStack() as held:
        for _ in range(many):
            held.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=20))

        assert statuses(exchange(server, LIST, CLOSE)) == [200]
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
