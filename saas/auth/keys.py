"""API keys: their text, what is stored of it, and their comparison. Look-up is not done here.

`sk_`, the key id (22 digits of base62), the tenant id (22), 32 random bytes (43). The tenant id
is in the key so that it is looked up inside that tenant's own row-level security. An operator's
access to a tenant has the same text behind `bg_` (break glass).
"""

import hashlib
import hmac
import secrets
import string
from uuid import UUID

import msgspec

SCHEME = "sk_"
ACCESS_SCHEME = "bg_"
ID_DIGITS = 22
SECRET_DIGITS = 43
PREFIX_LENGTH = len(SCHEME) + ID_DIGITS
TENANT_END = PREFIX_LENGTH + ID_DIGITS
KEY_LENGTH = TENANT_END + SECRET_DIGITS


class ApiKey(msgspec.Struct, frozen=True):
    """A new key. `text` is shown to its owner once and stored nowhere."""

    key_id: UUID
    tenant_id: UUID
    text: str
    prefix: str
    secret_hash: bytes

    def __repr__(self) -> str:
        # Logs and tracebacks print values; a secret must not get there.
        return f"ApiKey(prefix={self.prefix!r})"


class ParsedKey(msgspec.Struct, frozen=True):
    """What a well-formed key claims. It proves nothing before `matches` has said so."""

    key_id: UUID
    tenant_id: UUID
    secret_hash: bytes


def new_api_key(tenant_id: UUID, key_id: UUID, *, scheme: str = SCHEME) -> ApiKey:
    """A key with a fresh secret of 256 bits. So much randomness cannot be guessed, hence one
    SHA-256 is enough to store it; a slow hash is for what people choose."""
    prefix = scheme + _to_base62(key_id.int, ID_DIGITS)
    secret = _to_base62(int.from_bytes(secrets.token_bytes(32), "big"), SECRET_DIGITS)
    return ApiKey(
        key_id=key_id,
        tenant_id=tenant_id,
        text=prefix + _to_base62(tenant_id.int, ID_DIGITS) + secret,
        prefix=prefix,
        secret_hash=_hash(secret),
    )


def parse_api_key(text: str, *, scheme: str = SCHEME) -> ParsedKey | None:
    """None for every text that `new_api_key` cannot have made."""
    if len(text) != KEY_LENGTH or not text.startswith(scheme):
        return None
    if not (text.isascii() and text[len(scheme) :].isalnum()):
        return None
    key_id = text[len(scheme) : PREFIX_LENGTH]
    tenant_id = text[PREFIX_LENGTH:TENANT_END]
    secret = text[TENANT_END:]
    # The digits stand in the order of ASCII, so text of one width compares as its numbers do.
    if key_id > _MAX_ID or tenant_id > _MAX_ID or secret > _MAX_SECRET:
        return None
    return ParsedKey(
        key_id=UUID(int=_from_base62(key_id)),
        tenant_id=UUID(int=_from_base62(tenant_id)),
        secret_hash=_hash(secret),
    )


def matches(stored_hash: bytes, presented_hash: bytes) -> bool:
    """Whether two hashes are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(stored_hash, presented_hash)


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("ascii")).digest()


_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_VALUES = bytes.maketrans(_DIGITS.encode("ascii"), bytes(range(62)))


def _to_base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))


def _from_base62(text: str) -> int:
    number = 0
    for value in text.encode("ascii").translate(_VALUES):
        number = number * 62 + value
    return number


_MAX_ID = _to_base62(2**128 - 1, ID_DIGITS)
_MAX_SECRET = _to_base62(2**256 - 1, SECRET_DIGITS)
