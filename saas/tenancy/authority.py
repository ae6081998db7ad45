"""What a member or a key may do at this moment, read in the transaction of its act.

A principal may be some seconds old (`resolver.py`). That is good enough for work on rows, but who
was demoted a second ago must not use that second to make himself, a friend or a key what he was.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, Select, Uuid, bindparam, func, select

from saas import context
from saas.auth.permissions import PermissionCatalogue
from saas.db.models import table_of
from saas.db.statements import Statement, live, tenant_predicate
from saas.db.transaction import current_transaction
from saas.errors import PermissionDenied, Unauthenticated
from saas.tenancy.models import ApiKeyRow, Member

_KEY, _MEMBER = "key:", "member:"
_MANAGING = frozenset({"members:write", "api_keys:write"})
_keys, _members = table_of(ApiKeyRow), table_of(Member)
Row = Mapping[str, Any]


class Authority(msgspec.Struct, frozen=True):
    """`role` is the stored one of the member or key, None for an operator; `permissions` may be
    narrower. `member_id` is the member who acts, himself or through a key that is held to him;
    `expires_at` the end of that key."""

    role: str | None
    permissions: frozenset[str]
    member_id: UUID | None = None
    expires_at: datetime | None = None

    def require(self, *permissions: str) -> None:
        """Raises PermissionDenied naming the first of them that is missing."""
        require_all(self.permissions, permissions)


def require_all(held: frozenset[str], wanted: Sequence[str] | frozenset[str] | set[str]) -> None:
    """Raises PermissionDenied naming the first of `wanted` that is not `held`."""
    missing = sorted(set(wanted) - held)
    if missing:
        raise PermissionDenied(missing[0])


async def present_authority(catalogue: PermissionCatalogue) -> Authority:
    """Of the principal, and never more than it came with. Raises Unauthenticated where its member
    or key is gone by now."""
    principal = context.principal()
    actor = principal.actor
    if actor.startswith(_MEMBER):
        found = await _of_member(catalogue, UUID(actor.removeprefix(_MEMBER)))
    elif actor.startswith(_KEY):
        found = await _of_key(catalogue, UUID(actor.removeprefix(_KEY)))
    else:
        # An operator or a job, whom nobody in the tenant has let in.
        return Authority(None, principal.permissions)
    return msgspec.structs.replace(found, permissions=found.permissions & principal.permissions)


async def may_hand_out(catalogue: PermissionCatalogue, member_id: UUID | None) -> frozenset[str]:
    """What the member who answers for a row has now; all, where that was an operator. Raises
    Unauthenticated where the member is gone or suspended."""
    if member_id is None:
        return catalogue.all
    return (await _of_member(catalogue, member_id)).permissions


def key_permissions(catalogue: PermissionCatalogue, row: Row) -> frozenset[str]:
    """What a key of these columns may do, as `with_holder` has completed them. Raises
    Unauthenticated where the member whom it is held to is gone or suspended."""
    permissions = catalogue.narrowed(row["role"], row["permissions"])
    if row["member_id"] is None:
        return permissions
    if row["holder_role"] is None:
        raise Unauthenticated
    return permissions & catalogue.of_role(row["holder_role"])


def outgoing_permissions(
    catalogue: PermissionCatalogue, row: Row, role: str | None
) -> frozenset[str]:
    """What the secret may do that was good before somebody else took the key over, while the two
    overlap; `role` is now that of the member who knows it, None for an operator.

    It manages neither people nor keys: what it made would be held to the new member."""
    permissions = catalogue.narrowed(row["role"], row["permissions"]) - _MANAGING
    return permissions if role is None else permissions & catalogue.of_role(role)


def with_holder(keys: Select[Any]) -> Select[Any]:
    """The select of keys with `member_id` and, as `holder_role`, what that member is now; null
    where the member may not enter."""
    is_holder = (
        tenant_predicate(_members)
        & (_members.c.id == _keys.c.member_id)
        & _members.c.deleted_at.is_(None)
        & (_members.c.status == "active")
    )
    return keys.add_columns(_keys.c.member_id, _members.c.role.label("holder_role")).outerjoin_from(
        _keys, _members, is_holder
    )


async def _of_member(catalogue: PermissionCatalogue, id: UUID) -> Authority:
    rows = await _run(_MEMBER_NOW, id)
    if not rows:
        raise Unauthenticated
    role: str = rows[0]["role"]
    return Authority(role, catalogue.of_role(role), id)


async def _of_key(catalogue: PermissionCatalogue, id: UUID) -> Authority:
    rows = await _run(_KEY_NOW, id)
    if not rows:
        raise Unauthenticated
    row = rows[0]
    permissions = key_permissions(catalogue, row)
    return Authority(row["role"], permissions, row["member_id"], row["expires_at"])


async def _run(statement: Statement, id: UUID) -> Sequence[Row]:
    values = {"tenant_id": context.principal().tenant_id, "id": id}
    rows: Sequence[Row] = await current_transaction().run(statement, values)
    return rows


def key_is_good() -> tuple[ColumnElement[bool], ...]:
    """The conditions under which the key `id` may be used. The tenant is the caller's to add."""
    return (
        _keys.c.id == bindparam("id", type_=Uuid()),
        *live(_keys),
        _keys.c.revoked_at.is_(None),
        _keys.c.expires_at.is_(None) | (_keys.c.expires_at > func.now()),
    )


_MEMBER_NOW = Statement(
    select(_members.c.role).where(
        tenant_predicate(_members),
        _members.c.id == bindparam("id", type_=Uuid()),
        *live(_members),
        _members.c.status == "active",
    )
)
_KEY_NOW = Statement(
    with_holder(
        select(_keys.c.role, _keys.c.permissions, _keys.c.expires_at).where(
            tenant_predicate(_keys), *key_is_good()
        )
    )
)
