"""The platform's view of its tenants: find, list. Runs as the platform role, unbound; only
`first_owner` looks inside a tenant, bound to it."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, bindparam, func, select

from saas import context
from saas.db.filters import filter_shape_of, matching, paged, parameters, shape_of
from saas.db.keyset import window_of, with_sort_columns
from saas.db.models import table_of
from saas.db.operation import Operation, Step
from saas.db.partial import shape_for
from saas.db.query import MAX_LIMIT, ListQuery
from saas.db.repository import perform
from saas.db.row_operations import Page
from saas.db.statements import ShapeCache, Statement, tenant_predicate
from saas.db.transaction import current_transaction
from saas.errors import NotFound
from saas.limits import LimitOverrides
from saas.tenancy.models import Member, Tenant

_tenants, _members = table_of(Tenant), table_of(Member)


class TenantRead(msgspec.Struct, frozen=True):
    """`status` is active, suspended, deleting (until `purge_at` it can be undone) or deleted.
    `limits` are its own alone, which go before those of the plan."""

    id: UUID
    slug: str
    name: str
    plan: str
    status: str
    limits: LimitOverrides
    purge_at: datetime | None
    version: int
    created_at: datetime
    created_by: str
    updated_at: datetime
    updated_by: str

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(
            self, "limits", msgspec.convert(self.limits or {}, LimitOverrides)
        )


def shown_column(name: str) -> ColumnElement[Any]:
    """The column behind a field of TenantRead, or the one of that name."""
    return _tenants.c.limit_overrides if name == "limits" else _tenants.c[name]


SHOWN = tuple(shown_column(name) for name in TenantRead.__struct_fields__)
_SELECT = select(*SHOWN)
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
_SEARCH = ("slug", "name")
_pages = ShapeCache()


async def tenant_by_id(tenant_id: UUID) -> TenantRead:
    """Raises NotFound."""
    return _only(await _run(_BY_ID, {"id": tenant_id}))


async def tenant_by_slug(slug: str) -> TenantRead:
    """Raises NotFound."""
    return await perform(by_slug(slug))


def by_slug(slug: str) -> Operation[TenantRead]:
    """`tenant_by_slug` as an Operation, for the sync `perform` in a platform_transaction."""
    return _only([TenantRead(*row) for row in (yield Step(_BY_SLUG, {"slug": slug}))])


async def tenants(query: ListQuery | None = None) -> Page[TenantRead]:
    """One page of the tenants."""
    query = query or ListQuery()
    kind = shape_for(TenantRead, query.fields)
    columns = with_sort_columns(kind.columns, query)
    statement = _pages.get(
        ("page", shape_of(query)),
        lambda: paged(select(*map(shown_column, columns)), _tenants, query, _SEARCH),
    )
    found = await current_transaction().run(statement, parameters(query))
    rows, next_after, prev_before = window_of(found, query, columns)
    items = [kind.make(*row[: len(kind.columns)]) for row in rows]
    total = await _count(query) if query.include_total or query.offset is not None else None
    return Page(items=items, next_after=next_after, prev_before=prev_before, total=total)


async def all_tenants() -> list[TenantRead]:
    """Every tenant, newest first, page by page."""
    query = ListQuery(limit=MAX_LIMIT)
    found: list[TenantRead] = []
    while True:
        page = await tenants(query)
        found += page.items
        if page.next_after is None:
            return found
        query = msgspec.structs.replace(query, after=page.next_after)


async def _count(query: ListQuery) -> int:
    counted = select(func.count().label("total")).select_from(_tenants)
    statement = _pages.get(
        ("count", filter_shape_of(query)), lambda: matching(counted, _tenants, query, _SEARCH)
    )
    rows = await current_transaction().run(statement, parameters(query))
    total: int = rows[0]["total"]
    return total


async def first_owner() -> UUID:
    """The id of the bound tenant's first active owner. Raises NotFound."""
    values = {"tenant_id": context.principal().tenant_id}
    rows = await current_transaction().run(_FIRST_OWNER, values)
    if not rows:
        raise NotFound
    owner: UUID = rows[0]["id"]
    return owner


async def _run(statement: Statement, values: dict[str, Any]) -> list[TenantRead]:
    rows = await current_transaction().run(statement, values)
    return [TenantRead(*row) for row in rows]


def _only(rows: list[TenantRead]) -> TenantRead:
    if not rows:
        raise NotFound
    return rows[0]
