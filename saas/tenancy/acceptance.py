"""Accepting an invitation: a token of an invitation in, a member out. The way in for persons."""

import time
from datetime import UTC, datetime
from uuid import UUID

import msgspec
from uuid_utils.compat import uuid7

from saas.auth.invitation_tokens import InvitationTokens, Offer
from saas.auth.tokens import MAX_TTL_SECONDS
from saas.context import Principal, RequestOrigin, acting_as
from saas.db.transaction import Transaction
from saas.errors import (
    AlreadyMember,
    NoMemberCredential,
    NotFound,
    TenantSuspended,
    Unauthenticated,
)
from saas.tenancy.directory import TenantRead
from saas.tenancy.invitations import Invitations, no_invitation
from saas.tenancy.lifecycle_statements import OPEN
from saas.tenancy.members import MemberRead, add_member
from saas.tenancy.memberships import PersonDirectory, is_enlisted
from saas.tenancy.own_tenant import lock_own_tenant, own_tenant
from saas.tenancy.resolver import Resolver
from saas.tenancy.tenant_tokens import TenantTokens


class Accepted(msgspec.Struct, frozen=True):
    tenant: TenantRead
    member: MemberRead
    access_token: str


class Joiner(msgspec.Struct, frozen=True):
    """Who accepts: a person of the directory, None for one who is not known yet. The access token
    that comes of it lives for `ttl_seconds` at most."""

    person_id: UUID | None = None
    ttl_seconds: int = MAX_TTL_SECONDS


class Acceptance:
    """What stands between a token that anybody may send and a new member."""

    def __init__(
        self,
        tokens: TenantTokens,
        resolver: Resolver,
        invitations: Invitations,
        offers: InvitationTokens,
    ) -> None:
        self._database = tokens.database
        self._access_tokens = tokens.own
        self._resolver = resolver
        self._invitations = invitations
        self._offers = offers
        self._directory = PersonDirectory(tokens.database)

    async def accept(
        self, token: str, name: str, *, credential: str | None, origin: RequestOrigin
    ) -> Accepted:
        """Make whoever holds `token` a member. With the `credential` of a member of any tenant the
        same person joins.

        Raises Invalid for a token that is good for nothing, as it is once the tenant is being
        deleted, AlreadyAccepted, AlreadyMember, QuotaExceeded, TenantSuspended, Unauthenticated and
        NoMemberCredential for the credential."""
        offer = self._offers.read(token)
        if offer is None or offer.expires_at <= datetime.now(UTC):
            # Before anything is asked of the database: a stranger's junk costs nothing.
            raise no_invitation()
        joiner = await self._joiner(credential)
        member_id = uuid7()
        who = Principal(tenant_id=offer.tenant_id, actor=f"member:{member_id}")
        with acting_as(who, origin):
            async with Transaction(self._database.app) as work:
                accepted = await self._join(offer, member_id, name, joiner)
                await work.commit()
        return accepted

    async def _joiner(self, credential: str | None) -> Joiner:
        if credential is None:
            return Joiner()
        # As it is now: who was removed a moment ago must not take the person along.
        entry, _ = await self._resolver.look_up(credential)
        claims = entry.person
        if claims is None or entry.is_narrowed or claims.tenant_id is None:
            # The new access token is a whole one, and opens the person's other tenants.
            raise NoMemberCredential
        person_id = await self._directory.person_of(claims.tenant_id, UUID(claims.subject))
        # Never longer than the credential that was shown: else each invitation to a tenant of
        # one's own would turn a stolen token into a fresh one.
        seconds = int(claims.expires_at - time.time())
        if person_id is None or seconds < 1:
            raise Unauthenticated
        return Joiner(person_id, min(seconds, MAX_TTL_SECONDS))

    async def _join(self, offer: Offer, member_id: UUID, name: str, joiner: Joiner) -> Accepted:
        try:
            status = await lock_own_tenant()
        except NotFound:
            raise no_invitation() from None
        if status not in OPEN:
            raise no_invitation()
        taken = await self._invitations.take(offer.invitation_id)
        if status != "active":
            raise TenantSuspended
        person_id = joiner.person_id or uuid7()
        if await is_enlisted(person_id):
            raise AlreadyMember
        member = await add_member(
            id=member_id, email=taken.email, name=name, role=taken.role, person_id=person_id
        )
        token = self._access_tokens.issue(
            str(member_id), tenant_id=offer.tenant_id, ttl_seconds=joiner.ttl_seconds
        )
        return Accepted(await own_tenant(), member, token)
