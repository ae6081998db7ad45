"""Invitations: the offer to become a member, made, withdrawn and taken inside the tenant."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import bindparam, func, select

from saas import context
from saas.auth.invitation_tokens import InvitationTokens, Offer
from saas.auth.permissions import PermissionCatalogue
from saas.db.models import table_of
from saas.db.repository import TenantRepository
from saas.db.row_schema import Read
from saas.db.statements import Statement, edited, live, tenant_predicate
from saas.db.transaction import current_transaction
from saas.errors import (
    AlreadyAccepted,
    AlreadyExists,
    AlreadyMember,
    FieldError,
    Invalid,
    PermissionDenied,
    Unauthenticated,
)
from saas.tenancy.authority import may_hand_out, present_authority, require_all
from saas.tenancy.fields import canonical_email
from saas.tenancy.members import MANAGE_OWNERS, READ, WRITE, is_member
from saas.tenancy.models import Invitation
from saas.tenancy.own_tenant import lock_own_tenant

LIFETIME = timedelta(days=7)


class InvitationRead(Read):
    email: str
    role: str
    member_id: UUID | None
    expires_at: datetime
    accepted_at: datetime | None


class Invited(InvitationRead):
    """`token` is the one chance to read it."""

    token: str


_invitations = table_of(Invitation)
repository = TenantRepository(Invitation, InvitationRead, search=("email",))


class Invitations:
    """What people ask for. Each holds the tenant's lock, and looks at what the one who acts may do
    now."""

    def __init__(self, catalogue: PermissionCatalogue, tokens: InvitationTokens) -> None:
        self._catalogue = catalogue
        self._tokens = tokens

    async def invite(self, email: str, role: str) -> Invited:
        """Offer `role` to `email` for a week; an expired offer to the same address goes. Raises
        PermissionDenied for a role with more than one has oneself, AlreadyMember, and AlreadyExists
        while another offer is open."""
        await lock_own_tenant()
        needed = self._given_with(role)
        require_all(context.principal().permissions, needed)
        present = await present_authority(self._catalogue)
        present.require(*needed)
        address = canonical_email(email)
        if await is_member(address):
            raise AlreadyMember
        values: dict[str, Any] = {"email": address}
        await _run(_REMOVE_EXPIRED, values | {"actor": context.principal().actor})
        values |= {"role": role, "member_id": present.member_id, "expires_at": _end()}
        try:
            made = await repository.create(values)
        except AlreadyExists:
            taken = FieldError("/email", "taken", "Taken.")
            raise AlreadyExists("An invitation to it is open already.", errors=[taken]) from None
        offer = Offer(made.id, context.principal().tenant_id, made.expires_at)
        return Invited(**msgspec.structs.asdict(made), token=self._tokens.issue(offer))

    async def revoke(self, id: UUID, *, version: int | None = None) -> None:
        """Withdraw an invitation. Raises AlreadyAccepted, NotFound, VersionConflict, and
        PermissionDenied where it is for an owner and one is none."""
        await lock_own_tenant()
        offered = await repository.get(id)
        needed = {WRITE, MANAGE_OWNERS} if offered.role == "owner" else {WRITE}
        require_all(context.principal().permissions, needed)
        (await present_authority(self._catalogue)).require(*needed)
        if offered.accepted_at is not None:
            raise AlreadyAccepted
        await repository.delete(id, version=version)

    async def take(self, id: UUID) -> InvitationRead:
        """Use an invitation up, under the tenant's lock. Raises AlreadyAccepted, and Invalid where
        it is revoked or expired, or where the member who answers for it could not make it now:
        who was removed does not come back by what he has left lying about."""
        rows = await _run(_TAKE, {"id": id, "actor": context.principal().actor})
        if not rows:
            raise await _why_not(id)
        taken = InvitationRead(*rows[0])
        try:
            held = await may_hand_out(self._catalogue, taken.member_id)
            require_all(held, self._given_with(taken.role))
        except (Unauthenticated, PermissionDenied):
            raise no_invitation() from None
        return taken

    def _given_with(self, role: str) -> frozenset[str]:
        """What it takes to invite somebody: all that the role may, or the token of the invitation
        would be worth more than who reads it."""
        return self._catalogue.of_role(role) | {READ, WRITE}


def no_invitation() -> Invalid:
    """One answer for a token that is forged, expired, revoked or of no invitation."""
    fault = FieldError("/token", "no_invitation", "It is no invitation, or one that has ended.")
    return Invalid(errors=[fault])


async def _why_not(id: UUID) -> Exception:
    rows = await _run(_ACCEPTED, {"id": id})
    return AlreadyAccepted() if rows else no_invitation()


def _end() -> datetime:
    # In whole seconds, as in the token.
    return datetime.now(UTC).replace(microsecond=0) + LIFETIME


async def _run(statement: Statement, values: dict[str, Any]) -> Any:
    values["tenant_id"] = context.principal().tenant_id
    return await current_transaction().run(statement, values)


_is_this = _invitations.c.id == bindparam("id", type_=_invitations.c.id.type)
_TAKE = Statement(
    edited(_invitations)
    .where(
        tenant_predicate(_invitations),
        _is_this,
        *live(_invitations),
        _invitations.c.accepted_at.is_(None),
        _invitations.c.expires_at > func.now(),
    )
    .values(accepted_at=func.now())
    .returning(*(_invitations.c[name] for name in InvitationRead.__struct_fields__))
)
_ACCEPTED = Statement(
    select(_invitations.c.id).where(
        tenant_predicate(_invitations), _is_this, _invitations.c.accepted_at.is_not(None)
    )
)
_REMOVE_EXPIRED = Statement(
    edited(_invitations)
    .where(
        tenant_predicate(_invitations),
        _invitations.c.email == bindparam("email", type_=_invitations.c.email.type),
        _invitations.c.deleted_at.is_(None),
        _invitations.c.accepted_at.is_(None),
        _invitations.c.expires_at <= func.now(),
    )
    .values(deleted_at=func.now(), deleted_by=bindparam("actor"))
)
