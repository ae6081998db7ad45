"""What follows from a caller's Idempotency-Key: where its record lies, and what opens it.

All of it is derived by HKDF (RFC 5869) from the installation's secret together with caller, route
and key. Without the secret the table tells nothing, not even of a short key or body; with it, an
answer still opens only for whoever also knows the key.
"""

import hashlib
import hmac
import os
import re
import zlib
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from saas.errors import AnswerTooLarge, BadRequest

HEADER = b"idempotency-key"
MAX_KEPT_BYTES = 8 * 1024 * 1024
"""Of one answer's body. A report on 1,000 rows with some faults each has far less."""

_VISIBLE = re.compile(rb"[!-~]{1,255}").fullmatch
_NONCE_BYTES = 12
_encode = msgspec.msgpack.Encoder().encode


class KeptAnswer(msgspec.Struct, frozen=True, array_like=True):
    """What a repeat is answered with, if its caller has the `permissions` of the first one."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    permissions: list[str] = []


_decode = msgspec.msgpack.Decoder(KeptAnswer).decode


class Claim(NamedTuple):
    """One key of one caller on one route. `lock` is the number of its advisory lock."""

    id: UUID
    lock: int
    mac_key: bytes
    cipher_key: bytes

    def mac(self, query: bytes, body: bytes) -> bytes:
        """The same for the same request alone: a keyed SHA-256 of the digests of both."""
        return self.mac_of(query, hashlib.sha256(body).digest())

    def mac_of(self, query: bytes, body_digest: bytes) -> bytes:
        """The same, of a body that only its SHA-256 stands for."""
        return hmac.digest(self.mac_key, hashlib.sha256(query).digest() + body_digest, "sha256")

    def seal(self, answer: KeptAnswer, mac: bytes) -> bytes:
        """Encrypted, and bound to its request. Raises AnswerTooLarge."""
        if len(answer.body) > MAX_KEPT_BYTES:
            raise AnswerTooLarge
        nonce = os.urandom(_NONCE_BYTES)
        packed = zlib.compress(_encode(answer), 1)
        return nonce + AESGCM(self.cipher_key).encrypt(nonce, packed, mac)

    def open(self, sealed: bytes, mac: bytes) -> KeptAnswer:
        """Raises InvalidTag where somebody has changed the record."""
        nonce, packed = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        return _decode(zlib.decompress(AESGCM(self.cipher_key).decrypt(nonce, packed, mac)))


def claim_of(sent: list[bytes], caller: tuple[Any, ...], secret: bytes) -> Claim:
    """`sent` are the values of the header, `caller` says who asks for what: tenant, actor, route.
    Raises BadRequest unless there is one value of 1 to 255 visible ASCII characters."""
    if len(sent) != 1 or not _VISIBLE(sent[0]):
        raise BadRequest("Send one Idempotency-Key of 1 to 255 visible ASCII characters.")
    # A digest of one encoded whole: no two callers and keys can be told for each other.
    context = hashlib.sha256(_encode((*caller, sent[0]))).digest()
    derived = HKDF(SHA256(), 88, salt=None, info=b"saas idempotency key" + context).derive(secret)
    return Claim(
        id=UUID(bytes=derived[:16]),
        lock=int.from_bytes(derived[16:24], signed=True),
        mac_key=derived[24:56],
        cipher_key=derived[56:],
    )
