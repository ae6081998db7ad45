"""The platform's view of its tenants: find, list. Runs as the platform role, unbound; only
`first_owner` looks inside a tenant, bound to it."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import bindparam, select

from saas import context
from saas.db.models import table_of
from saas.db.statements import Statement, tenant_predicate
from saas.db.transaction import current_transaction
from saas.errors import NotFound
from saas.tenancy.models import Member, Tenant

_tenants, _members = table_of(Tenant), table_of(Member)


class TenantRead(msgspec.Struct, frozen=True):
    id: UUID
    slug: str
    name: str
    plan: str
    status: str
    version: int
    created_at: datetime
    created_by: str
    updated_at: datetime
    updated_by: str


_SELECT = select(*(_tenants.c[name] for name in TenantRead.__struct_fields__))
_FIRST_OWNER = Statement(
    select(_members.c.id)
    .where(
        tenant_predicate(_members),
        _members.c.role == "owner",
        _members.c.status == "active",
        _members.c.deleted_at.is_(None),
    )
    .order_by(_members.c.created_at, _members.c.id)
    .limit(1)
)
_BY_ID = Statement(_SELECT.where(_tenants.c.id == bindparam("id")))
_BY_SLUG = Statement(_SELECT.where(_tenants.c.slug == bindparam("slug")))
_PAGE = Statement(
    _SELECT.where(_tenants.c.slug > bindparam("after"))
    .order_by(_tenants.c.slug)
    .limit(bindparam("limit"))
)


async def tenant_by_id(tenant_id: UUID) -> TenantRead:
    """Raises NotFound."""
    return _only(await _run(_BY_ID, {"id": tenant_id}))


async def tenant_by_slug(slug: str) -> TenantRead:
    """Raises NotFound."""
    return _only(await _run(_BY_SLUG, {"slug": slug}))


async def tenants_after(slug: str, limit: int) -> list[TenantRead]:
    """Up to `limit` tenants in the order of their slugs, behind `slug`."""
    return await _run(_PAGE, {"after": slug, "limit": limit})


async def first_owner() -> UUID:
    """The id of the bound tenant's first active owner. Raises NotFound."""
    arguments = _FIRST_OWNER.arguments({"tenant_id": context.principal().tenant_id})
    rows = await current_transaction().fetch(_FIRST_OWNER.sql, arguments)
    if not rows:
        raise NotFound
    owner: UUID = rows[0]["id"]
    return owner


async def _run(statement: Statement, values: dict[str, Any]) -> list[TenantRead]:
    rows = await current_transaction().fetch(statement.sql, statement.arguments(values))
    return [TenantRead(*row) for row in rows]


def _only(rows: list[TenantRead]) -> TenantRead:
    if not rows:
        raise NotFound
    return rows[0]
