"""Are a tenant's figures right? All but latency and growth can be counted anew, from its rows, its
log, its events and its requests (docs/usage.md). As the platform's role, bound to the tenant: rows,
log and events it may not read, functions of the owner count them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import msgspec

from saas import context
from saas.context import Principal
from saas.db.database import Database
from saas.db.transaction import current_transaction, platform_transaction
from saas.usage.comparison import comparison, correction
from saas.usage.folding import hold_folding


class Drift(msgspec.Struct, frozen=True):
    """A figure that is `counted` as what is not `true`."""

    figure: str
    counted: int
    true: int


class Comparison(msgspec.Struct, frozen=True):
    """How many figures were compared, and those that differ."""

    figures: int
    drift: list[Drift]


class FiguredTenant(msgspec.Struct, frozen=True):
    """A tenant whose figures can be compared."""

    id: UUID
    slug: str


_TENANTS = """SELECT id, slug FROM tenants
WHERE status <> 'deleted' AND NOT coalesce(deletion ? 'started_at', false) ORDER BY slug"""
_COMPARE, _REPAIR = comparison(), correction()


async def tenants_with_figures(database: Database) -> list[FiguredTenant]:
    """All tenants, but those that are purged or being purged."""
    async with platform_transaction(database) as work:
        return [FiguredTenant(row["id"], row["slug"]) for row in await work.fetch(_TENANTS)]


async def compare(database: Database, tenant_id: UUID) -> Comparison:
    """The figures of a tenant as they are at one moment, whoever writes meanwhile."""
    async with _bound(database, tenant_id):
        return await _run(_COMPARE)


async def repair(database: Database, tenant_id: UUID) -> Comparison:
    """Set the figures of a tenant right; what was wrong. Exact, whoever writes meanwhile."""
    async with _bound(database, tenant_id):
        # No second repair adds the same again.
        await hold_folding()
        return await _run(_REPAIR)


@asynccontextmanager
async def _bound(database: Database, tenant_id: UUID) -> AsyncIterator[None]:
    # Counting a large table takes as long as it takes.
    principal = Principal(tenant_id=tenant_id, actor="platform:reconcile", statement_timeout_ms=0)
    with context.acting_as(principal):
        async with platform_transaction(database):
            yield


async def _run(statement: str) -> Comparison:
    arguments = [context.principal().tenant_id]
    row = (await current_transaction().fetch(statement, arguments))[0]
    return Comparison(row["figures"], msgspec.json.decode(row["drift"], type=list[Drift]))
