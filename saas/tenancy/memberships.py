"""The directory of persons: in which tenants somebody is a member.

It lets nobody in. A tenant is entered through the member's own row, inside that tenant's row-level
security; the directory only says which row to look at. Two members are one person where the second
has joined with the credential of the first, never because their addresses are equal: any tenant may
invite any address, and reads the token of its invitations itself.
"""

import re
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, Select, Uuid, bindparam, delete, insert, select

from saas import context
from saas.db.database import Database
from saas.db.models import table_of
from saas.db.statements import Statement
from saas.db.transaction import Transaction, current_transaction
from saas.tenancy.models import SLUG_PATTERN, Membership, Tenant

MOST_TENANTS = 100
"""Of one person that are listed; each costs a look into that tenant."""


class PersonTenant(msgspec.Struct, frozen=True):
    """A tenant in which a person is a member, and as which one."""

    tenant_id: UUID
    slug: str
    name: str
    member_id: UUID


async def enlist(member_id: UUID, person_id: UUID) -> None:
    """Enter a new member of the bound tenant into the directory."""
    await _run(_ENLIST, {"member_id": member_id, "person_id": person_id})


async def delist(member_id: UUID) -> None:
    """Take a member of the bound tenant out of the directory."""
    await _run(_DELIST, {"member_id": member_id})


async def is_enlisted(person_id: UUID) -> bool:
    """Whether the person is a member of the bound tenant."""
    return bool(await _run(_OF_PERSON, {"person_id": person_id}))


class PersonDirectory:
    """Questions over all tenants. Only the platform's role may ask them, and it is told ids and
    names, nothing of the rows behind them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def person_of(self, tenant_id: UUID, member_id: UUID) -> UUID | None:
        rows = await self._ask(_PERSON, {"tenant_id": tenant_id, "member_id": member_id})
        return rows[0]["person_id"] if rows else None

    async def tenants_of(self, tenant_id: UUID, member_id: UUID) -> list[PersonTenant]:
        """The active tenants of the person who is this member, by slug."""
        values = {"tenant_id": tenant_id, "member_id": member_id}
        return [PersonTenant(*row) for row in await self._ask(_TENANTS, values)]

    async def find(self, tenant_id: UUID, member_id: UUID, selected: str) -> PersonTenant | None:
        """The tenant of this id or slug, if the person who is this member is one of its members
        too. Active or not: its own member may be told."""
        values: dict[str, Any] = {"tenant_id": tenant_id, "member_id": member_id}
        if _is_uuid(selected):
            rows = await self._ask(_BY_ID, values | {"selected": UUID(selected)})
        elif _is_slug(selected):
            rows = await self._ask(_BY_SLUG, values | {"selected": selected})
        else:
            return None
        return PersonTenant(*rows[0]) if rows else None

    async def _ask(self, statement: Statement, values: dict[str, Any]) -> Sequence[Any]:
        # In the lane of who asks: whoever tries one name after the other waits for himself.
        lane = values["tenant_id"]
        async with Transaction(self._database.platform, read_only=True, lane=lane) as work:
            rows = await work.run(statement, values)
            await work.commit()
        return rows


# One spelling each: UUID() itself also takes capitals, braces and urn:.
_is_uuid = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII).fullmatch
_is_slug = re.compile(SLUG_PATTERN.strip("^$"), re.ASCII).fullmatch
_memberships, _tenants = table_of(Membership), table_of(Tenant)


async def _run(statement: Statement, values: dict[str, Any]) -> Sequence[Any]:
    values["tenant_id"] = context.principal().tenant_id
    return await current_transaction().run(statement, values)


def _parameter(name: str) -> ColumnElement[Any]:
    return bindparam(name, type_=Uuid())


def _of_tenant() -> ColumnElement[bool]:
    return _memberships.c.tenant == _parameter("tenant_id")


def _tenants_of_person() -> Select[Any]:
    own, other = _memberships.alias("own"), _memberships.alias("other")
    # unscoped: the directory of all tenants, which no tenant's role may read beyond its own rows
    return (
        select(_tenants.c.id, _tenants.c.slug, _tenants.c.name, other.c.member_id)
        .join_from(own, other, other.c.person_id == own.c.person_id)
        .join(_tenants, _tenants.c.id == other.c.tenant)
        .where(own.c.tenant == _parameter("tenant_id"), own.c.member_id == _parameter("member_id"))
    )


_ENLIST = Statement(
    insert(_memberships).values(
        tenant=_parameter("tenant_id"),
        member_id=_parameter("member_id"),
        person_id=_parameter("person_id"),
    )
)
_DELIST = Statement(
    delete(_memberships).where(_of_tenant(), _memberships.c.member_id == _parameter("member_id"))
)
_OF_PERSON = Statement(
    select(_memberships.c.member_id).where(
        _of_tenant(), _memberships.c.person_id == _parameter("person_id")
    )
)
_PERSON = Statement(
    select(_memberships.c.person_id).where(
        _of_tenant(), _memberships.c.member_id == _parameter("member_id")
    )
)
_TENANTS = Statement(
    _tenants_of_person()
    .where(_tenants.c.status == "active")
    .order_by(_tenants.c.slug)
    .limit(MOST_TENANTS)
)
_BY_ID = Statement(_tenants_of_person().where(_tenants.c.id == _parameter("selected")))
_BY_SLUG = Statement(
    _tenants_of_person().where(_tenants.c.slug == bindparam("selected", type_=_tenants.c.slug.type))
)
