"""JSON Web Signatures in their compact form, read strictly (RFC 7515, RFC 8725).

Which key, issuer and claims are good is not decided here.
"""

import base64
import json
import re
import time
from typing import Any, NamedTuple

import jwt

from saas.auth.signing_key import VerificationKey

LEEWAY_SECONDS = 10
MOST_KEY_ID_CHARACTERS = 200

_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+")
_REFUSED_MEMBERS = frozenset(
    {
        # An extension that we do not know changes what the token means (RFC 7515, 4.1.11).
        *("crit", "b64"),
        # The key is ours, whatever the token brings or says of it (RFC 8725, 3.10).
        *("jku", "jwk", "x5c", "x5u"),
        # Of encrypted tokens, which these are not.
        *("enc", "zip"),
    }
)
_jws = jwt.PyJWS(options={"verify_signature": True, "enforce_minimum_key_length": True})


class Jws(NamedTuple):
    """What a token says of itself. It proves nothing before `check_signature` has returned."""

    text: str
    header: dict[str, Any]
    payload: dict[str, Any]


def parse(text: str, *, most_characters: int) -> Jws:
    """Raises jwt.DecodeError for everything but two JSON objects and a signature, in their one
    spelling."""
    # Length and alphabet come before any parsing, so that a stranger's junk costs nothing and
    # one token has one spelling: no padding, no white space, nothing outside ASCII.
    match = _COMPACT.fullmatch(text) if len(text) <= most_characters else None
    if match is None:
        raise jwt.DecodeError("no compact JWS")
    header = _object(match[1])
    if not _REFUSED_MEMBERS.isdisjoint(header):
        raise jwt.DecodeError("a header member is refused")
    return Jws(text, header, _object(match[2]))


def check_signature(token: Jws, key: VerificationKey) -> None:
    """Raises jwt.PyJWTError unless `key` has signed `token`, with the algorithm of the key."""
    _jws.decode_complete(token.text, key.verifier, [key.algorithm])


def check_type(token: Jws, types: frozenset[str]) -> None:
    """Raises jwt.InvalidTokenError unless `typ` is one of `types`, in small letters. A token of
    another kind with the same signature is no access token (RFC 8725, 3.11)."""
    kind = token.header.get("typ", "")
    if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in types:
        raise jwt.InvalidTokenError("typ is not that of an access token")


def key_id_of(token: Jws) -> str | None:
    """The `kid`, to be looked up and nothing else; None where there is none. Raises
    jwt.InvalidTokenError for what no key is called."""
    if "kid" not in token.header:
        return None
    key_id = token.header["kid"]
    if not isinstance(key_id, str) or not 1 <= len(key_id) <= MOST_KEY_ID_CHARACTERS:
        raise jwt.InvalidTokenError("kid is no name of a key")
    return key_id


def check_times(issued_at: int, expires_at: int, not_before: int, *, most_seconds: int) -> None:
    """Raises jwt.InvalidTokenError for a token that is not in force now, or that is for longer than
    `most_seconds`."""
    now = time.time()
    if max(issued_at, not_before) > now + LEEWAY_SECONDS:
        raise jwt.ImmatureSignatureError("not yet valid")
    if expires_at <= now - LEEWAY_SECONDS:
        raise jwt.ExpiredSignatureError("expired")
    # Both have been compared with the clock, so this bounds the two of them.
    if not 1 <= expires_at - issued_at <= most_seconds:
        raise jwt.InvalidTokenError("the lifetime is out of bounds")


def _object(segment: str) -> dict[str, Any]:
    try:
        found = json.loads(
            _base64url(segment).decode("utf-8"),
            # Two parsers may take two members of one name in two ways.
            object_pairs_hook=_without_duplicates,
            parse_constant=_refuse_constant,
        )
    except (ValueError, RecursionError) as error:
        raise jwt.DecodeError("no JSON") from error
    if not isinstance(found, dict):
        raise jwt.DecodeError("no object")
    return found


def _base64url(segment: str) -> bytes:
    data = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    # The last digit has bits to spare: of its spellings one is right.
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii") != segment:
        raise ValueError("not canonical")
    return data


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise ValueError("a member appears twice")
    return unique


def _refuse_constant(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")
