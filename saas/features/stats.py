"""Per-tenant statistics, counted by the database in one statement; no row is ever loaded."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp
from sqlalchemy import ColumnElement, Select, Table, and_, func, literal, select, true, union_all

from saas import context
from saas.db.audit import AuditLog
from saas.db.models import Base, table_of
from saas.db.statements import Statement, tenant_predicate
from saas.db.transaction import current_transaction
from saas.web.answer import json_answer
from saas.web.described import described


class ResourceStats(msgspec.Struct, frozen=True):
    """`total` counts live rows, `active` those of them with is_active, or all without it."""

    total: int
    active: int
    deleted: int


class Stats(msgspec.Struct, frozen=True):
    tenant_id: UUID
    as_of: datetime
    resources: dict[str, ResourceStats]
    members: int
    api_keys: int
    last_activity_at: datetime | None


_ALSO_COUNTED = ("members", "api_keys")
_audit = table_of(AuditLog)
_LATEST = "last_activity"


def stats_handlers(resources: Sequence[str]) -> list[HTTPRouteHandler]:
    """`GET /v1/stats` over the tables of `resources`, right also while others write: one
    statement sees one snapshot."""
    statement = Statement(_counts((*resources, *_ALSO_COUNTED)))

    @get(
        "/v1/stats",
        **described(
            "stats.get",
            "How much the tenant has",
            permission="stats:read",
            success=200,
            body=Stats,
        ),
    )
    async def get_stats() -> ASGIApp:
        tenant_id = context.principal().tenant_id
        rows = await current_transaction().run(statement, {"tenant_id": tenant_id})
        counts = {
            row["name"]: ResourceStats(row["total"], row["active"], row["deleted"]) for row in rows
        }
        return json_answer(
            Stats(
                tenant_id,
                rows[0]["as_of"],
                {name: counts[name] for name in resources},
                counts["members"].total,
                counts["api_keys"].active,
                rows[0]["last_activity_at"],
            )
        )

    return [get_stats]


def _counts(names: Sequence[str]) -> Select[Any]:
    counted = union_all(*(_count(name, Base.metadata.tables[name]) for name in names)).subquery()
    latest = (
        select(_audit.c.at.label("last_activity_at"))
        .where(tenant_predicate(_audit))
        .order_by(_audit.c.id.desc())
        .limit(1)
        .subquery(_LATEST)
    )
    # unscoped: counted is made of statements that have the predicate, each of its own table
    return select(counted, func.now().label("as_of"), latest.c.last_activity_at).join_from(
        counted, latest, true(), isouter=True
    )


def _count(name: str, table: Table) -> Select[Any]:
    live = table.c.deleted_at.is_(None)
    active: ColumnElement[bool] = live
    if "is_active" in table.c:
        active = and_(live, table.c.is_active)
    if "revoked_at" in table.c:
        active = and_(live, table.c.revoked_at.is_(None))
    # Any: its columns are typed one by one, which no union of tables is.
    counts: Any = select(
        literal(name).label("name"),
        func.count().filter(live).label("total"),
        func.count().filter(active).label("active"),
        func.count().filter(~live).label("deleted"),
    ).where(tenant_predicate(table))
    return counts  # type: ignore[no-any-return]
