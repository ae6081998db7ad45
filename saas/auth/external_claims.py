"""What the token of an external issuer claims, by that issuer's rules.

Whether it is signed is not decided here.
"""

from typing import Annotated, Any

import jwt
import msgspec
from msgspec import UNSET, Meta, UnsetType

from saas.auth.issuers_file import Issuer
from saas.auth.jws import check_times
from saas.auth.tokens import ShortText

# No permission at all, and so no role.
_NO_ROLE = ""
Email = Annotated[str, Meta(min_length=3, max_length=254)]


class ExternalClaims(msgspec.Struct, frozen=True, kw_only=True):
    """What a valid token says. `tenant` is an id or a slug; `email` None: none that counts. `role`
    and `permissions` narrow what the member holds; None leaves it as it is."""

    tenant: str
    subject: str
    email: str | None
    role: str | None
    permissions: frozenset[str] | None
    issued_at: int
    expires_at: int


def claims_of(payload: dict[str, Any], issuer: Issuer) -> ExternalClaims:
    """Raises jwt.InvalidTokenError or msgspec.ValidationError for claims that are not good."""
    names = issuer.claims
    registered = msgspec.convert(payload, _Registered)
    if registered.iss != issuer.issuer or registered.audience != issuer.audience:
        raise jwt.InvalidTokenError("iss or aud is not this issuer's")
    not_before = 0 if registered.nbf is UNSET else registered.nbf
    most = issuer.max_lifetime_seconds
    check_times(registered.iat, registered.exp, not_before, most_seconds=most)
    return ExternalClaims(
        tenant=issuer.tenant or _text(payload, names.tenant),
        subject=_text(payload, names.subject),
        email=_email(payload, names.email),
        role=_role(payload, names.role),
        permissions=_permissions(payload, names.permissions),
        issued_at=registered.iat,
        expires_at=registered.exp,
    )


class _Registered(msgspec.Struct):
    """Claims of RFC 7519, with their exact types."""

    iss: str
    # One audience, also where it is written as a list: beside another service's name in it, that
    # service could use here what it was given.
    aud: str | Annotated[list[str], Meta(min_length=1, max_length=1)]
    iat: int
    exp: int
    nbf: int | UnsetType = UNSET
    jti: str | UnsetType = UNSET

    @property
    def audience(self) -> str:
        return self.aud if isinstance(self.aud, str) else self.aud[0]


def _text(payload: dict[str, Any], name: str | None) -> str:
    text = msgspec.convert(payload.get(name or ""), ShortText)
    # A control character or lone surrogate would only fail later, in the database.
    if not text.isprintable():
        raise jwt.InvalidTokenError("a claim is not printable")
    return text


def _email(payload: dict[str, Any], name: str | None) -> str | None:
    # An address that its issuer does not vouch for is anybody's.
    if name is None or name not in payload or payload.get("email_verified", True) is not True:
        return None
    email = msgspec.convert(payload[name], Email)
    return email if email.isprintable() else None


def _role(payload: dict[str, Any], name: str | None) -> str | None:
    """A token without the claim that is to narrow it may do nothing: an issuer leaves out what
    is empty."""
    if name is None:
        return None
    return _text(payload, name) if name in payload else _NO_ROLE


def _permissions(payload: dict[str, Any], name: str | None) -> frozenset[str] | None:
    """A list, or names with blanks between them (RFC 9068, 2.2.3). Absent is none, as above."""
    if name is None:
        return None
    value = payload.get(name, [])
    if isinstance(value, str):
        return frozenset(value.split())
    return msgspec.convert(value, frozenset[ShortText])
