"""Where an issuer's key set is read from: its URL, or a file. Bounded in size and time, because the
other end may be slow, wrong or somebody else."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from functools import lru_cache
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from saas.auth.issuers_file import Issuer

FETCH_SECONDS = 5
MOST_BYTES = 512 * 1024
_CHUNK = 64 * 1024

Load = Callable[[], Awaitable[bytes]]


class FetchFailed(Exception):
    """The answer is not a key set's."""


def source_of(issuer: Issuer) -> Load:
    """What reads the issuer's key set. It raises OSError, TimeoutError or FetchFailed."""
    if issuer.jwks_url is not None:
        url = urlsplit(issuer.jwks_url)
        return lambda: _fetch(url)
    path = Path(issuer.jwks_file or "")
    return lambda: asyncio.to_thread(read_file, path)


def read_file(path: Path) -> bytes:
    """Raises OSError, FetchFailed for a file that is too large."""
    with path.open("rb") as file:
        document = file.read(MOST_BYTES + 1)
    if len(document) > MOST_BYTES:
        raise FetchFailed("too large")
    return document


async def _fetch(url: SplitResult) -> bytes:
    """The body of a 200. No redirect is followed: it would be for the other end to say whose keys
    are believed. The five seconds are for all of it, so that an answer cannot drip for ever."""
    tls = _tls() if url.scheme == "https" else None
    async with asyncio.timeout(FETCH_SECONDS):
        reader, writer = await asyncio.open_connection(url.hostname, _port(url), ssl=tls)
        try:
            writer.write(_request(url))
            return await _answer(reader)
        finally:
            # Not close: it would wait for the other end.
            writer.transport.abort()


async def _answer(reader: asyncio.StreamReader) -> bytes:
    answer = _Answer()
    parser = HttpResponseParser(answer)
    size = 0
    while not answer.is_complete:
        chunk = await reader.read(_CHUNK)
        if not chunk:
            break
        size += len(chunk)
        if size > MOST_BYTES:
            raise FetchFailed("too large")
        try:
            parser.feed_data(chunk)
        except (HttpParserError, HttpParserUpgrade) as error:
            raise FetchFailed(f"the answer is no HTTP: {error}") from error
    # Without a length it ends with the connection.
    if not answer.has_headers or (answer.has_length and not answer.is_complete):
        raise FetchFailed("the answer is not whole")
    if parser.get_status_code() != 200:
        raise FetchFailed(f"the answer is {parser.get_status_code()}")
    if answer.is_encoded:
        raise FetchFailed("the answer is compressed")
    return bytes(answer.body)


class _Answer:
    """What httptools calls back."""

    def __init__(self) -> None:
        self.body = bytearray()
        self.has_headers = self.has_length = self.is_encoded = self.is_complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() in {b"content-length", b"transfer-encoding"}:
            self.has_length = True
        elif name.lower() == b"content-encoding" and value.lower() != b"identity":
            self.is_encoded = True

    def on_headers_complete(self) -> None:
        self.has_headers = True

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.is_complete = True


def _request(url: SplitResult) -> bytes:
    # The settings have been checked for what would end a line.
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    lines = [
        f"GET {target} HTTP/1.1",
        f"Host: {url.netloc}",
        "Accept: application/json, application/jwk-set+json",
        "Accept-Encoding: identity",
        "Connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode("ascii")


def _port(url: SplitResult) -> int:
    return url.port or (443 if url.scheme == "https" else 80)


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    """The system's certificates, or those of SSL_CERT_FILE; reading them takes a while."""
    return ssl.create_default_context()
