"""The platform's view of its tenants: find, list. Runs as the platform role, unbound."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import bindparam, select

from saas.db.models import table_of
from saas.db.statements import Statement
from saas.db.transaction import current_transaction
from saas.errors import NotFound
from saas.tenancy.models import Tenant

_tenants = table_of(Tenant)


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


async def _run(statement: Statement, values: dict[str, Any]) -> list[TenantRead]:
    rows = await current_transaction().fetch(statement.sql, statement.arguments(values))
    return [TenantRead(*row) for row in rows]


def _only(rows: list[TenantRead]) -> TenantRead:
    if not rows:
        raise NotFound
    return rows[0]
