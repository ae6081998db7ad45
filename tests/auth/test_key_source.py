"""Key sets are fetched within bounds: whatever the other end answers, it is a key set or a refusal,
and soon."""

import asyncio
import json
import socket
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from identity_provider import http_answer, identity_provider, private_key, saying
from saas.auth import key_source
from saas.auth.issuers_file import Issuer
from saas.auth.key_source import MOST_BYTES, FetchFailed, source_of


@pytest.fixture
async def provider():
    async with identity_provider() as provider:
        yield provider


def load(url):
    return source_of(Issuer(issuer="i", audience="a", jwks_url=url, tenant="t"))()


BODY = json.dumps({"keys": []}).encode()
GOOD = {
    "with a length": http_answer(BODY),
    "to the end of the connection": b"HTTP/1.0 200 OK\r\n\r\n" + BODY,
    "in chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\n" + BODY[:3] + b"\r\n%x\r\n" % (len(BODY) - 3) + BODY[3:] + b"\r\n0\r\n\r\n",
    "named as not encoded": http_answer(BODY, "Content-Encoding: identity"),
    "of another type": http_answer(BODY, "Content-Type: text/html"),
}
BAD = {
    **{
        f"{status}": http_answer(BODY, "Location: /keys", status=f"{status} X")
        for status in (201, 204, 301, 302, 307, 308, 304, 400, 401, 403, 404, 500, 503)
    },
    "nothing": b"",
    "no HTTP": b"\x16\x03\x01 hello\r\n\r\n",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "half a body": http_answer(BODY)[:-4],
    "half a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{}",
    "bad chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
    "compressed": http_answer(b"\x1f\x8b", "Content-Encoding: gzip"),
    "two lengths": http_answer(BODY, "Content-Length: 2"),
    "too large": http_answer(b" " * MOST_BYTES + BODY),
    "endless head": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * (MOST_BYTES // 6),
    "another protocol": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
}


@pytest.mark.parametrize("answer", GOOD.values(), ids=GOOD)
async def test_answer_of_any_form_is_read(provider, answer):
    provider.answer = saying(answer)

    assert await load(provider.url) == BODY


@pytest.mark.parametrize("answer", BAD.values(), ids=BAD)
async def test_answer_that_is_no_whole_200_is_refused(provider, answer):
    assert json.loads(await load(provider.url)) == {"keys": []}
    provider.answer = saying(answer)

    with pytest.raises((FetchFailed, ConnectionError)):
        await load(provider.url)

    # Nor is it asked again, or asked elsewhere.
    assert provider.asked == 2


async def test_answer_that_drips_is_given_up(provider, monkeypatch):
    monkeypatch.setattr(key_source, "FETCH_SECONDS", 0.3)

    async def drip(writer):
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"X: y\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)

    assert await load(provider.url)
    provider.answer = drip

    with pytest.raises(TimeoutError):
        await load(provider.url)


async def test_connection_that_nobody_answers_is_given_up(monkeypatch):
    monkeypatch.setattr(key_source, "FETCH_SECONDS", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()

        with pytest.raises(TimeoutError):
            await load(f"http://127.0.0.1:{silent.getsockname()[1]}/keys")


async def test_query_of_the_url_is_sent(provider):
    heard = []

    async def hear(reader, writer):
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(http_answer(BODY))
        writer.close()

    async with await asyncio.start_server(hear, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await load(f"http://127.0.0.1:{port}/a/b?c=d&e=%20") == BODY
        assert await load(f"http://localhost:{port}") == BODY

    first, second = (text.decode().split("\r\n") for text in heard)
    assert first[:2] == ["GET /a/b?c=d&e=%20 HTTP/1.1", f"Host: 127.0.0.1:{port}"]
    assert second[:2] == ["GET / HTTP/1.1", f"Host: localhost:{port}"]


@pytest.fixture
def certificate(tmp_path):
    """A certificate of nobody's authority for 127.0.0.1."""
    key = private_key("ES256")
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "certificate.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return str(path)


async def test_https_believes_only_a_certificate_that_the_system_knows(certificate, monkeypatch):
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(certificate)

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(http_answer(BODY))
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_side) as server:
        port = server.sockets[0].getsockname()[1]
        key_source._tls.cache_clear()
        with pytest.raises(ssl.SSLCertVerificationError):
            await load(f"https://127.0.0.1:{port}/keys")

        monkeypatch.setenv("SSL_CERT_FILE", certificate)
        key_source._tls.cache_clear()
        assert await load(f"https://127.0.0.1:{port}/keys") == BODY
        with pytest.raises(ssl.SSLCertVerificationError):
            await load(f"https://localhost:{port}/keys")
    key_source._tls.cache_clear()


async def test_file_is_read_within_the_same_bound(tmp_path):
    path = tmp_path / "keys.json"
    read = source_of(Issuer(issuer="i", audience="a", jwks_file=str(path), tenant="t"))
    path.write_bytes(BODY)

    assert await read() == BODY
    path.write_bytes(b" " * (MOST_BYTES + 1))
    with pytest.raises(FetchFailed):
        await read()
    path.unlink()
    with pytest.raises(FileNotFoundError):
        await read()
