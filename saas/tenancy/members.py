"""A tenant's members: who may change whom, and that an owner always remains."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import bindparam, func, select

from saas import context
from saas.auth.permissions import PermissionCatalogue
from saas.db.models import table_of
from saas.db.repository import TenantRepository
from saas.db.row_schema import Read
from saas.db.statements import Statement, insert_row, live, tenant_predicate
from saas.db.transaction import current_transaction
from saas.errors import AlreadyMember, LastOwner
from saas.tenancy.authority import present_authority, require_all
from saas.tenancy.member_quota import reserve_member
from saas.tenancy.memberships import delist, enlist
from saas.tenancy.models import Member
from saas.tenancy.own_tenant import lock_own_tenant

READ, WRITE = "members:read", "members:write"
MANAGE_OWNERS = "tenant:write"
"""What an owner has over an admin, and so what it takes to make, alter or remove one."""


class MemberRead(Read):
    email: str
    name: str
    role: str
    status: str
    joined_at: datetime


_members = table_of(Member)
repository = TenantRepository(
    Member, MemberRead, search=("email", "name"), hidden=("tokens_valid_from",)
)


async def add_member(*, id: UUID, email: str, name: str, role: str, person_id: UUID) -> MemberRead:
    """Every member but a tenant's first comes into being here, under `lock_own_tenant`. Raises
    AlreadyMember for an address that is taken, QuotaExceeded."""
    if await is_member(email):
        raise AlreadyMember
    await reserve_member()
    actor = context.principal().actor
    values = {"id": id, "email": email, "name": name, "role": role}
    values |= {"created_by": actor, "updated_by": actor}
    rows = await _run(_INSERT, {f"v_{column}": value for column, value in values.items()})
    await enlist(id, person_id)
    return MemberRead(*rows[0])


async def is_member(email: str) -> bool:
    """Whether a live member of the tenant has this address, in its canonical spelling."""
    return bool(await _run(_BY_EMAIL, {"email": email}))


class Members:
    """The changes of members that people ask for. Each holds the tenant's lock, and looks at what
    the one who acts may do now."""

    def __init__(self, catalogue: PermissionCatalogue) -> None:
        self._catalogue = catalogue

    async def change(
        self, id: UUID, changes: Mapping[str, Any], *, version: int | None = None
    ) -> MemberRead:
        """Change role, name or status. Raises PermissionDenied for an owner, or for a role with
        more than one has oneself, LastOwner, QuotaExceeded where it ends a suspension, NotFound
        and VersionConflict."""
        await lock_own_tenant()
        before = await repository.get(id)
        after = msgspec.structs.replace(before, **changes)
        self._refuse_beyond(context.principal().permissions, before, after)
        await _keep_an_owner(before, after)
        present = await present_authority(self._catalogue)
        present.require(WRITE)
        self._refuse_beyond(present.permissions, before, after)
        if _is_active(after) and not _is_active(before):
            await reserve_member()
        return await repository.update(id, changes, version=version)

    async def remove(self, id: UUID, *, version: int | None = None) -> None:
        """Remove a member, whose credentials end with it; a member may remove itself. Raises
        PermissionDenied for an owner's removal by somebody else than an owner, LastOwner, NotFound
        and VersionConflict."""
        await lock_own_tenant()
        before = await repository.get(id)
        principal = context.principal()
        is_leaving = principal.actor == f"member:{id}"
        needed = {READ} if is_leaving else {WRITE}
        if before.role == "owner" and not is_leaving:
            needed.add(MANAGE_OWNERS)
        require_all(principal.permissions, needed)
        await _keep_an_owner(before, None)
        (await present_authority(self._catalogue)).require(*needed)
        await repository.delete(id, version=version)
        await delist(id)

    def _refuse_beyond(
        self, permissions: frozenset[str], before: MemberRead, after: MemberRead
    ) -> None:
        # Nobody gives, also by lifting a suspension, what he has not himself.
        gained = self._held(after) - self._held(before)
        if "owner" in (before.role, after.role):
            gained |= {MANAGE_OWNERS}
        require_all(permissions, gained)

    def _held(self, member: MemberRead) -> frozenset[str]:
        return self._catalogue.of_role(member.role) if _is_active(member) else frozenset()


async def _keep_an_owner(before: MemberRead, after: MemberRead | None) -> None:
    """Raises LastOwner where `before` is the last who can manage the tenant. The lock of the tenant
    makes it the last also where another one leaves at the same time."""
    if not _is_acting_owner(before) or (after is not None and _is_acting_owner(after)):
        return
    rows = await _run(_OTHER_OWNERS, {"id": before.id})
    if rows[0]["others"] == 0:
        raise LastOwner


def _is_active(member: MemberRead) -> bool:
    return member.status == "active"


def _is_acting_owner(member: MemberRead) -> bool:
    return member.role == "owner" and _is_active(member)


async def _run(statement: Statement, values: dict[str, Any]) -> Any:
    values["tenant_id"] = context.principal().tenant_id
    return await current_transaction().run(statement, values)


_INSERT = Statement(
    insert_row(
        _members,
        ("id", "email", "name", "role", "created_by", "updated_by"),
        MemberRead.__struct_fields__,
    )
)
_BY_EMAIL = Statement(
    select(_members.c.id).where(
        tenant_predicate(_members),
        _members.c.email == bindparam("email", type_=_members.c.email.type),
        _members.c.deleted_at.is_(None),
    )
)
_OTHER_OWNERS = Statement(
    select(func.count().label("others")).where(
        tenant_predicate(_members),
        *live(_members),
        _members.c.role == "owner",
        _members.c.status == "active",
        _members.c.id != bindparam("id", type_=_members.c.id.type),
    )
)
