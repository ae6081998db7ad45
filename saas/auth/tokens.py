"""Our own access tokens (RFC 9068): one issuer, one audience per plane, one algorithm per key.

Tokens of other issuers, and whether the bearer is still a member, are not decided here.
"""

import time
from collections.abc import Iterable
from typing import Annotated, Any
from uuid import UUID

import jwt
import msgspec
from msgspec import UNSET, UnsetType

from saas.auth.jws import check_signature, check_times, check_type, key_id_of, parse
from saas.auth.signing_key import SigningKey, VerificationKey
from saas.errors import FieldError, Invalid, Unauthenticated

MAX_TTL_SECONDS = 900
MAX_TOKEN_LENGTH = 4096

_TYPES = frozenset({"at+jwt"})

ShortText = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class Claims(msgspec.Struct, frozen=True):
    """What a valid token says; times are Unix seconds. `permissions` None means the role's own.
    `key_version` says which secret of an API key it was exchanged for."""

    subject: str
    tenant_id: UUID | None
    role: str | None
    issued_at: int
    expires_at: int
    permissions: frozenset[str] | None = None
    key_version: int | None = None


class TokenIssuer:
    """Issues and verifies the tokens of one plane: a tenant's demand `tid`, the platform's refuse
    it. The two planes must differ in `audience` too. `verification_keys` verify only: keys that
    signed before, or will."""

    def __init__(
        self,
        signing_key: SigningKey,
        *,
        issuer: str,
        audience: str,
        requires_tenant: bool = True,
        verification_keys: Iterable[VerificationKey] = (),
    ) -> None:
        self._signer = signing_key.signer
        self._key_id = signing_key.verification.key_id
        keys = (*verification_keys, signing_key.verification)
        self._keys = {key.key_id: key for key in keys}
        self._issuer = issuer
        self._audience = audience
        self._requires_tenant = requires_tenant
        self._encoder = jwt.PyJWT({"enforce_minimum_key_length": True})

    def issue(
        self,
        subject: str,
        *,
        tenant_id: UUID | None,
        role: str | None = None,
        permissions: Iterable[str] | None = None,
        key_version: int | None = None,
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
            payload["permissions"] = sorted(set(permissions))
        if key_version is not None:
            payload["key_version"] = key_version
        try:
            self._claims(payload)
        except (jwt.InvalidTokenError, msgspec.ValidationError) as error:
            raise ValueError(f"no token of this plane can say this: {error}") from error
        headers = {"typ": "at+jwt", "kid": self._key_id}
        token = self._encoder.encode(payload, self._signer, headers=headers)
        if len(token) > MAX_TOKEN_LENGTH:
            raise _invalid("/permissions", "The list of permissions does not fit into a token.")
        return token

    def verify(self, token: str) -> Claims:
        """The claims of a token that is ours, of this plane and in force. Raises Unauthenticated,
        and nothing else, for every other string."""
        try:
            read = parse(token, most_characters=MAX_TOKEN_LENGTH)
            check_type(read, _TYPES)
            # A key of the settings or none: nothing is opened, fetched or asked by this name.
            key = self._keys.get(key_id_of(read) or self._key_id)
            if key is None:
                raise Unauthenticated
            check_signature(read, key)
            return self._claims(read.payload)
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

    def _claims(self, payload: dict[str, Any]) -> Claims:
        claims = msgspec.convert(payload, _Payload)
        if (claims.iss, claims.aud) != (self._issuer, self._audience):
            raise jwt.InvalidTokenError("iss or aud is not this plane's")
        not_before = 0 if claims.nbf is UNSET else claims.nbf
        check_times(claims.iat, claims.exp, not_before, most_seconds=MAX_TTL_SECONDS)
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
            key_version=None if claims.key_version is UNSET else claims.key_version,
        )


class _Payload(msgspec.Struct):
    """The claims with their exact types. An absent claim is UNSET, so that null is refused: null
    permissions must not be read as all permissions."""

    iss: str
    # One audience: in a list, another service could be named beside us and use the token here.
    aud: str
    sub: ShortText
    iat: int
    exp: int
    nbf: int | UnsetType = UNSET
    jti: str | UnsetType = UNSET
    tid: UUID | UnsetType = UNSET
    role: ShortText | UnsetType = UNSET
    permissions: frozenset[ShortText] | UnsetType = UNSET
    key_version: int | UnsetType = UNSET


def _invalid(pointer: str, message: str) -> Invalid:
    return Invalid(errors=[FieldError(pointer, "out_of_range", message)])
