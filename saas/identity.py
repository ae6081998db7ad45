"""Composition of what decides who a caller is and what he may do, and of the routes of people."""

from collections.abc import Iterable
from typing import NamedTuple

from litestar.handlers import HTTPRouteHandler

from saas.auth.external_issuers import external_issuers_from
from saas.auth.invitation_tokens import InvitationTokens
from saas.auth.permissions import PermissionCatalogue
from saas.auth.signing_key import signing_key_from
from saas.auth.tokens import TokenIssuer
from saas.auth.verification_keys import verification_keys_from
from saas.db.database import Database
from saas.features.api_keys import api_key_handlers
from saas.features.invitations import invitation_handlers
from saas.features.me import me_handlers
from saas.features.members import member_handlers
from saas.features.tenant import tenant_handlers
from saas.features.tokens import token_handlers
from saas.settings import Settings
from saas.tenancy.acceptance import Acceptance
from saas.tenancy.api_keys import ApiKeys
from saas.tenancy.invitations import Invitations
from saas.tenancy.key_uses import KeyUses
from saas.tenancy.members import Members
from saas.tenancy.resolver import Resolver
from saas.tenancy.tenant_tokens import TenantTokens
from saas.web.cursors import Cursors


class Identity(NamedTuple):
    """One of each in a process."""

    catalogue: PermissionCatalogue
    tokens: TenantTokens
    resolver: Resolver
    uses: KeyUses

    @property
    def database(self) -> Database:
        return self.tokens.database


def identity_of(settings: Settings, database: Database, resources: Iterable[str]) -> Identity:
    """`resources` are the names that permissions are made of. Raises ConfigurationError."""
    catalogue = PermissionCatalogue(resources)
    own = token_issuer(settings, settings.jwt_audience)
    tokens = TenantTokens(own, external_issuers_from(settings), database)
    uses = KeyUses(database.app, interval_seconds=settings.key_use_seconds)
    resolver = Resolver(
        tokens,
        catalogue,
        uses,
        cache_seconds=settings.principal_cache_seconds,
        statement_timeout_ms=settings.statement_timeout_ms,
    )
    return Identity(catalogue, tokens, resolver, uses)


def token_issuer(settings: Settings, audience: str, *, requires_tenant: bool = True) -> TokenIssuer:
    """Our own tokens, of the plane with this audience."""
    return TokenIssuer(
        signing_key_from(settings),
        issuer=settings.jwt_issuer,
        audience=audience,
        requires_tenant=requires_tenant,
        verification_keys=verification_keys_from(settings),
    )


def people_handlers(settings: Settings, identity: Identity) -> list[HTTPRouteHandler]:
    """The routes about the tenant, its members, invitations, keys and tokens."""
    cursors = Cursors(shared_secret(settings))
    offers = invitation_tokens(settings)
    invitations = Invitations(identity.catalogue, offers)
    acceptance = Acceptance(identity.tokens, identity.resolver, invitations, offers)
    return [
        *tenant_handlers,
        *me_handlers(identity.database),
        *member_handlers(Members(identity.catalogue), cursors),
        *invitation_handlers(invitations, acceptance, cursors),
        *api_key_handlers(ApiKeys(identity.catalogue), cursors),
        *token_handlers(identity.tokens.own, identity.catalogue.all),
    ]


def invitation_tokens(settings: Settings) -> InvitationTokens:
    return InvitationTokens(shared_secret(settings))


def shared_secret(settings: Settings) -> bytes:
    """For page cursors, kept answers and invitations. Every node of an installation must have the
    same; the signing key is such a secret, until it is changed."""
    secret = settings.sealing_secret or settings.jwt_key or settings.jwt_secret or ""
    return secret.encode("utf-8", "surrogateescape")
