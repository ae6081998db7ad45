"""External issuers: their tokens are read as strictly as ours, and proved by keys of their own.

Which tenant and member a token speaks of is looked up in `tenancy/tenant_tokens.py`.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import jwt
import msgspec

from saas.auth.external_claims import ExternalClaims, claims_of
from saas.auth.issuer_keys import IssuerKeys
from saas.auth.issuers_file import Issuer, issuers_from
from saas.auth.jws import check_signature, check_type, key_id_of, parse
from saas.auth.key_set import NO_KEYS, BadKeySet, KeySet, read_key_set
from saas.auth.key_source import FetchFailed, read_file, source_of
from saas.background import in_background
from saas.errors import ConfigurationError, Unauthenticated
from saas.settings import Settings

# Theirs are longer than ours: they carry groups, roles and names.
MAX_TOKEN_LENGTH = 8192


class ExternalIssuer:
    """One issuer and its keys."""

    def __init__(self, issuer: Issuer) -> None:
        """Raises ConfigurationError for a file of keys that cannot be used."""
        self._issuer = issuer
        self._types = frozenset(kind.lower().removeprefix("application/") for kind in issuer.types)
        self._tenants = frozenset(issuer.tenants or ())
        self.keys = IssuerKeys(issuer, source_of(issuer), _keys_of_file(issuer))

    def may_name(self, tenant_id: UUID, slug: str) -> bool:
        """Whether this issuer's tokens may be for that tenant."""
        return not self._tenants or not self._tenants.isdisjoint((str(tenant_id), slug))

    async def verify(self, token: str) -> ExternalClaims:
        """Raises Unauthenticated, and nothing else, for every token that is not good here."""
        try:
            read = parse(token, most_characters=MAX_TOKEN_LENGTH)
            check_type(read, self._types)
            # All that needs no key comes first: who makes us ask for an unknown key must have at
            # least a token that would otherwise do.
            claims = claims_of(read.payload, self._issuer)
            if read.header.get("alg") not in self._issuer.algorithms:
                raise Unauthenticated
            key = await self.keys.find(key_id_of(read))
            if key is None:
                raise Unauthenticated
            check_signature(read, key)
        except (jwt.PyJWTError, msgspec.ValidationError) as error:
            raise Unauthenticated from error
        return claims


class ExternalIssuers:
    """All external issuers, by the `iss` of their tokens."""

    def __init__(self, issuers: Iterable[Issuer]) -> None:
        self._issuers = {issuer.issuer: ExternalIssuer(issuer) for issuer in issuers}

    def of(self, token: str) -> ExternalIssuer | None:
        """The issuer that `token` claims to be from, unproved; None where it is none of them."""
        if not self._issuers:
            return None
        try:
            name = parse(token, most_characters=MAX_TOKEN_LENGTH).payload.get("iss")
        except jwt.DecodeError:
            return None
        return self._issuers.get(name) if isinstance(name, str) else None

    @asynccontextmanager
    async def refreshing(self) -> AsyncIterator[None]:
        """Keep the keys fresh inside the block."""
        async with in_background(*(i.keys.refresh_for_ever() for i in self._issuers.values())):
            yield


def external_issuers_from(settings: Settings) -> ExternalIssuers:
    """Raises ConfigurationError, in one line, for a list or a file of keys that is not right."""
    return ExternalIssuers(issuers_from(settings))


def _keys_of_file(issuer: Issuer) -> KeySet:
    if issuer.jwks_file is None:
        return NO_KEYS
    try:
        keys = read_key_set(read_file(Path(issuer.jwks_file)), issuer.algorithms)
    except (OSError, FetchFailed, BadKeySet, ValueError) as error:
        reason = str(error)
    else:
        if keys.by_id or keys.only:
            return keys
        reason = f"it has no key for {', '.join(issuer.algorithms)}"
    raise ConfigurationError(f"SAAS_ISSUERS: jwks_file {issuer.jwks_file}: {reason}")
