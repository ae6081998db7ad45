"""An identity provider as an API sees one: it signs tokens, and serves its public keys by HTTP on
loopback; it can be slow, wrong or gone."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

AUDIENCE = "https://api.saas.test"
Json = dict[str, Any]
Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]

_FAMILIES: dict[str, Any] = {"RS": RSAAlgorithm, "PS": RSAAlgorithm, "ES": ECAlgorithm}


def private_key(algorithm: str, number: int = 0) -> Any:
    """The key of this number for an algorithm."""
    return _made(algorithm, number)


@lru_cache
def _made(algorithm: str, number: int) -> Any:
    """Made once: an RSA key takes a while."""
    if algorithm[:2] in {"RS", "PS"}:
        return rsa.generate_private_key(65_537, 2_048)
    if algorithm[:2] == "ES":
        curves = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
        return ec.generate_private_key(curves[algorithm])
    return Ed25519PrivateKey.generate()


def jwk_of(algorithm: str, key: Any, kid: str | None) -> Json:
    """The public JWK of a private key."""
    family = _FAMILIES.get(algorithm[:2], OKPAlgorithm)
    jwk: Json = family.to_jwk(key.public_key(), as_dict=True)
    return jwk | {"alg": algorithm, "use": "sig"} | ({"kid": kid} if kid else {})


class IdentityProvider:
    """`keys` are what it serves, by kid. `answers` takes the place of the key set."""

    def __init__(self, issuer: str = "https://idp.test") -> None:
        self.issuer = issuer
        self.keys: dict[str, tuple[str, Any]] = {}
        self.answer: Answer = self._serve_keys
        self.asked = 0
        self._server: asyncio.Server | None = None
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/keys"

    def add_key(self, kid: str, algorithm: str = "EdDSA", number: int = 0) -> None:
        self.keys[kid] = (algorithm, private_key(algorithm, number))

    def issue(self, kid: str, *, header: Json | None = None, **claims: Any) -> str:
        """A token that is good but for what is given; ... takes a claim away."""
        algorithm, key = self.keys[kid]
        return jwt.encode(
            self.claims(**claims), key, algorithm, {"kid": kid, "typ": "JWT", **(header or {})}
        )

    def claims(self, **changes: Any) -> Json:
        now = int(time.time())
        good = {"iss": self.issuer, "aud": AUDIENCE, "sub": "someone", "iat": now, "exp": now + 600}
        return {name: value for name, value in (good | changes).items() if value is not ...}

    def key_set(self) -> bytes:
        keys = [jwk_of(algorithm, key, kid) for kid, (algorithm, key) in self.keys.items()]
        return json.dumps({"keys": keys}).encode()

    def entry(self, **changes: Any) -> str:
        """Its entry in SAAS_ISSUERS."""
        claims = {"tenant": "tenant", "email": "email"} | changes.pop("claims", {})
        entry = {
            "issuer": self.issuer,
            "audience": AUDIENCE,
            "jwks_url": self.url,
            "algorithms": ["RS256", "PS256", "ES256", "ES384", "EdDSA"],
            "claims": {name: value for name, value in claims.items() if value is not None},
            **changes,
        }
        lines = (f"{name} = {_toml(value)}" for name, value in entry.items() if value is not None)
        return "[[issuers]]\n" + "\n".join(lines) + "\n"

    async def start(self) -> None:
        """Serve, on the port it had before if there was one."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            self.asked += 1
            await self.answer(writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _serve_keys(self, writer: asyncio.StreamWriter) -> None:
        writer.write(http_answer(self.key_set()))

    def serve_keys(self) -> None:
        """Answer as it should again."""
        self.answer = self._serve_keys


def http_answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def saying(answer: bytes) -> Answer:
    """Answers with these very bytes."""

    async def answer_with(writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    return answer_with


@asynccontextmanager
async def identity_provider(issuer: str = "https://idp.test") -> AsyncIterator[IdentityProvider]:
    provider = IdentityProvider(issuer)
    await provider.start()
    try:
        yield provider
    finally:
        await provider.stop()


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {_toml(inner)}" for name, inner in value.items()) + "}"
    return json.dumps(value)
