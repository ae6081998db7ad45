"""The figures of a tenant that is purged go with it."""

from uuid import UUID

from sqlalchemy import Table, Uuid, bindparam, delete

from saas.db.models import Base
from saas.db.statements import Statement
from saas.db.transaction import current_transaction
from saas.usage.folding import hold_folding
from saas.usage.request_statements import WRITING
from saas.usage.retention_statements import KEEPING


def tables_of_figures() -> list[Table]:
    """Every table with figures about tenants."""
    return [table for table in Base.metadata.sorted_tables if table.info.get("is_usage")]


async def forget(tenant_id: UUID) -> None:
    """Delete all figures of a tenant, in the current transaction of the platform. No fold, no
    writer of counts and nobody who puts old ones together brings any back: none is under way before
    the end of the transaction."""
    await hold_folding()
    for lock in (WRITING, KEEPING):
        await current_transaction().fetch("SELECT pg_advisory_xact_lock($1)", [lock])
    for table in tables_of_figures():
        own = table.c.tenant == bindparam("tenant", type_=Uuid())
        # unscoped: rows about the tenant, not of it: their column is named otherwise
        await current_transaction().run(Statement(delete(table).where(own)), {"tenant": tenant_id})
