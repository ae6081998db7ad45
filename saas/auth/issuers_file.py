"""External issuers as the operator lists them: the TOML of SAAS_ISSUERS, checked at the start.

docs/identity.md explains each entry to its writer.
"""

import ipaddress
import re
import tomllib
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from saas.errors import ConfigurationError
from saas.settings import Settings

# The text travels to the server's processes in one environment variable, which Linux bounds.
_MOST_CHARACTERS = 100_000

ExternalAlgorithm = Literal[
    "EdDSA", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"
]
Text = Annotated[str, Meta(min_length=1, max_length=500)]
Algorithms = Annotated[tuple[ExternalAlgorithm, ...], Meta(min_length=1)]
Seconds = Annotated[int, Meta(ge=1, le=86_400)]
_URL = re.compile(r"https?://[!-~]+")


class ClaimNames(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the issuer's tokens say what ours say. None: they don't, or are not believed."""

    tenant: Text | None = None
    subject: Text = "sub"
    email: Text | None = None
    role: Text | None = None
    permissions: Text | None = None


class Issuer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry. Its tokens are of `tenant`, or name theirs, one of `tenants` if there are any."""

    issuer: Text
    audience: Text
    jwks_url: Text | None = None
    jwks_file: Text | None = None
    algorithms: Algorithms = ("RS256", "ES256", "EdDSA")
    types: Annotated[tuple[str, ...], Meta(min_length=1)] = ("at+jwt", "JWT")
    tenant: Text | None = None
    tenants: Annotated[tuple[Text, ...], Meta(min_length=1)] | None = None
    max_lifetime_seconds: Seconds = 3_600
    refresh_seconds: Seconds = 300
    claims: ClaimNames = ClaimNames()

    def __post_init__(self) -> None:
        if (self.jwks_url is None) is (self.jwks_file is None):
            raise ValueError("give one of jwks_url and jwks_file")
        if (self.tenant is None) is (self.claims.tenant is None):
            raise ValueError("give one of tenant and claims.tenant")
        if self.tenants is not None and self.tenant is not None:
            raise ValueError(
                "tenants bounds what claims.tenant may name; there is a tenant already"
            )
        if self.jwks_url is not None:
            _check_url(self.jwks_url)


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    issuers: list[Issuer] = []


def issuers_from(settings: Settings) -> list[Issuer]:
    """Raises ConfigurationError, in one line, for a text that is not right."""
    text = settings.issuers or ""
    if len(text) > _MOST_CHARACTERS:
        raise ConfigurationError(f"SAAS_ISSUERS is longer than {_MOST_CHARACTERS} characters")
    try:
        issuers = msgspec.convert(tomllib.loads(text), _Document).issuers
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, RecursionError) as error:
        raise ConfigurationError(f"SAAS_ISSUERS: {_in_one_line(str(error))}") from None
    _refuse_confusion(issuers, settings)
    return issuers


def _refuse_confusion(issuers: list[Issuer], settings: Settings) -> None:
    """A token must be of one issuer and one plane, whoever reads it."""
    names = [settings.jwt_issuer, *(issuer.issuer for issuer in issuers)]
    for issuer in issuers:
        if names.count(issuer.issuer) > 1:
            raise ConfigurationError(
                f"SAAS_ISSUERS: the issuer {issuer.issuer} is listed twice, or is SAAS_JWT_ISSUER"
            )
        if issuer.audience == settings.platform_audience:
            raise ConfigurationError(
                f"SAAS_ISSUERS: the audience of {issuer.issuer} is that of the platform's tokens"
            )


def _check_url(url: str) -> None:
    """Keys that come over a line which others can write to would be anybody's keys."""
    if _URL.fullmatch(url) is None:
        raise ValueError("jwks_url is no URL of http or https")
    parts = urlsplit(url)
    # Raises ValueError for a port that is none.
    if not parts.hostname or parts.username is not None or parts.fragment or parts.port == 0:
        raise ValueError("jwks_url needs a host, and no user name or fragment")
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise ValueError("jwks_url must be https; http is for loopback addresses alone")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _in_one_line(message: str) -> str:
    return " ".join(message.replace("`$.", "`").split())
