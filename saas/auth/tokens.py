"""Our own access tokens (RFC 9068): one key, one algorithm, one issuer and one audience per plane.

Tokens of other issuers, and whether the bearer is still a member, are not decided here.
"""

import json
import re
import time
from collections.abc import Iterable
from typing import Annotated, Any
from uuid import UUID

import jwt
import msgspec
from msgspec import UNSET, UnsetType

from saas.auth.signing_key import SigningKey
from saas.errors import FieldError, Invalid, Unauthenticated

MAX_TTL_SECONDS = 900
MAX_TOKEN_LENGTH = 4096
LEEWAY_SECONDS = 10

ShortText = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class Claims(msgspec.Struct, frozen=True):
    """What a valid token says; times are Unix seconds. `permissions` None means the role's own."""

    subject: str
    tenant_id: UUID | None
    role: str | None
    issued_at: int
    expires_at: int
    permissions: frozenset[str] | None = None


class TokenIssuer:
    """Issues and verifies the tokens of one plane: a tenant's demand `tid`, the platform's refuse
    it. The two planes must differ in `audience` too."""

    def __init__(
        self, signing_key: SigningKey, *, issuer: str, audience: str, requires_tenant: bool = True
    ) -> None:
        self._key = signing_key
        self._issuer = issuer
        self._audience = audience
        self._requires_tenant = requires_tenant
        self._headers = {"typ": "at+jwt", "kid": signing_key.key_id}
        self._algorithms = [signing_key.algorithm]
        self._jwt = _StrictJWT(
            {
                "require": ["exp", "iat", "iss", "aud", "sub"],
                "strict_aud": True,
                "enforce_minimum_key_length": True,
            }
        )

    def issue(
        self,
        subject: str,
        *,
        tenant_id: UUID | None,
        role: str | None = None,
        permissions: Iterable[str] | None = None,
        ttl_seconds: int = MAX_TTL_SECONDS,
    ) -> str:
        """A token that `verify` accepts. Raises Invalid for a lifetime outside 1 to 900 seconds or
        too long a list of permissions, ValueError for claims that this plane never carries."""
        if not 1 <= ttl_seconds <= MAX_TTL_SECONDS:
            raise _invalid("/ttl_seconds", f"The lifetime is 1 to {MAX_TTL_SECONDS} seconds.")
        payload = self._payload(subject, ttl_seconds)
        if tenant_id is not None:
            payload["tid"] = str(tenant_id)
        if role is not None:
            payload["role"] = role
        if permissions is not None:
            payload["permissions"] = sorted(permissions)
        try:
            self._claims(payload)
        except (jwt.InvalidTokenError, msgspec.ValidationError) as error:
            raise ValueError(f"no token of this plane can say this: {error}") from error
        token = self._jwt.encode(payload, self._key.signer, headers=self._headers)
        if len(token) > MAX_TOKEN_LENGTH:
            raise _invalid("/permissions", "The list of permissions does not fit into a token.")
        return token

    def verify(self, token: str) -> Claims:
        """The claims of a token that is ours, of this plane and in force. Raises Unauthenticated,
        and nothing else, for every other string."""
        # Length and alphabet come before any parsing, so that a stranger's junk costs nothing and
        # one token has one spelling: no padding, no white space, nothing outside ASCII.
        if len(token) > MAX_TOKEN_LENGTH or _COMPACT_JWS.fullmatch(token) is None:
            raise Unauthenticated
        try:
            decoded = self._jwt.decode_complete(
                token,
                self._key.verifier,
                self._algorithms,
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY_SECONDS,
            )
            self._check_header(decoded["header"])
            return self._claims(decoded["payload"])
        except (jwt.PyJWTError, msgspec.ValidationError) as error:
            raise Unauthenticated from error

    def _payload(self, subject: str, ttl_seconds: int) -> dict[str, Any]:
        now = int(time.time())
        return {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": subject,
            "iat": now,
            "exp": now + ttl_seconds,
        }

    def _check_header(self, header: dict[str, Any]) -> None:
        # jku, x5u, x5c and jwk are never read: the key is ours, whatever the token says of it
        # (RFC 8725, 3.10). `kid` is compared, never used to look anything up.
        if header.get("kid", self._key.key_id) != self._key.key_id:
            raise jwt.InvalidTokenError("kid names another key")
        # An extension that we do not know changes what the token means (RFC 7515, 4.1.11).
        if "crit" in header:
            raise jwt.InvalidTokenError("crit is not supported")
        # Another kind of token signed with the same key is no access token (RFC 9068, 4).
        if str(header.get("typ")).lower() not in _ACCESS_TOKEN_TYPES:
            raise jwt.InvalidTokenError("typ is not at+jwt")

    def _claims(self, payload: dict[str, Any]) -> Claims:
        """What PyJWT leaves open: exact types, bounded lifetime, the plane's rule for `tid`."""
        claims = msgspec.convert(payload, _Payload)
        # PyJWT has compared both with the clock, so this bounds the two of them.
        if not 1 <= claims.exp - claims.iat <= MAX_TTL_SECONDS:
            raise jwt.InvalidTokenError("the lifetime is out of bounds")
        # A control character or lone surrogate would only fail later, in the database.
        if not claims.sub.isprintable():
            raise jwt.InvalidTokenError("sub is not printable")
        # The audience tells the planes apart; this holds even where it is misconfigured.
        if (claims.tid is UNSET) is self._requires_tenant:
            raise jwt.InvalidTokenError("tid does not fit the plane")
        # One spelling per tenant: msgspec takes capitals and plain hex too.
        if claims.tid is not UNSET and str(claims.tid) != payload["tid"]:
            raise jwt.InvalidTokenError("tid is not canonical")
        return Claims(
            subject=claims.sub,
            tenant_id=None if claims.tid is UNSET else claims.tid,
            role=None if claims.role is UNSET else claims.role,
            issued_at=claims.iat,
            expires_at=claims.exp,
            permissions=None if claims.permissions is UNSET else claims.permissions,
        )


class _Payload(msgspec.Struct):
    """The claims with their exact types. An absent claim is UNSET, so that null is refused: null
    permissions must not be read as all permissions."""

    sub: ShortText
    iat: int
    exp: int
    nbf: int | UnsetType = UNSET
    tid: UUID | UnsetType = UNSET
    role: ShortText | UnsetType = UNSET
    permissions: frozenset[ShortText] | UnsetType = UNSET


class _StrictJWT(jwt.PyJWT):
    """PyJWT that refuses what two JSON parsers may read in two ways."""

    def _decode_payload(self, decoded: dict[str, Any]) -> dict[str, Any]:
        """PyJWT offers this method to be overridden."""
        try:
            payload = json.loads(
                decoded["payload"].decode("utf-8"),
                object_pairs_hook=_without_duplicates,
                parse_constant=_refuse_constant,
            )
        except (ValueError, RecursionError) as error:
            raise jwt.DecodeError("the payload is not JSON") from error
        if not isinstance(payload, dict):
            raise jwt.DecodeError("the payload is no object")
        return payload


_COMPACT_JWS = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_ACCESS_TOKEN_TYPES = frozenset({"at+jwt", "application/at+jwt"})


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise ValueError("a member appears twice")
    return unique


def _refuse_constant(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _invalid(pointer: str, message: str) -> Invalid:
    return Invalid(errors=[FieldError(pointer, "out_of_range", message)])
