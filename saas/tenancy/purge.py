"""The purge of a tenant whose grace period is over: its rows go in batches, children before
parents, and a certificate says so. Each step is a transaction of its own, so that a purge may be
killed at any point, and whoever purges next goes on with it."""

from collections.abc import Callable
from uuid import UUID

from sqlalchemy import Table

from saas.db.database import Database
from saas.db.purge_statements import PURGE_ROWS, may_delete, purge_batch, purge_order
from saas.db.statements import ShapeCache
from saas.errors import Invalid, PurgeIncomplete, StillReferenced
from saas.tenancy.deletion import Certificate
from saas.tenancy.purge_steps import PurgeSteps
from saas.usage.forgetting import tables_of_figures

BATCH_ROWS = 2_000

Report = Callable[[str, int], None]
"""Called after each batch with the table and the number of rows that went."""

_batches = ShapeCache()


async def purge(
    database: Database,
    tenant_id: UUID,
    *,
    actor: str,
    batch_rows: int = BATCH_ROWS,
    report: Report = lambda *_: None,
) -> Certificate:
    """Delete every row of the tenant, prove it, and certify it; of one that is deleted already, its
    certificate. The rows go as the app's role, bound to the tenant, under row-level security.

    Raises NotFound, WrongTenantStatus where it is not offboarded or in its grace period,
    PurgeRunning where another process is at it, Unavailable where transactions are running that
    began in the grace period, PurgeIncomplete where rows are left."""
    steps = PurgeSteps(database, tenant_id, actor)
    done = await steps.start()
    if done is not None:
        return done
    figures = tables_of_figures()
    for table in purge_order():
        # What goes from a table is counted: the figures go last.
        if table in figures:
            continue
        while gone := await _delete_batch(steps, table, batch_rows):
            report(table.name, gone)
    return await steps.finish()


async def _delete_batch(steps: PurgeSteps, table: Table, most: int) -> int:
    if not may_delete(table):
        async with steps.as_platform() as work:
            rows = await work.fetch(PURGE_ROWS, [table.name, most])
            return int(rows[0]["gone"])
    statement = _batches.get(table.name, lambda: purge_batch(table))
    async with steps.as_app() as work:
        try:
            return len(await work.run(statement, {"tenant_id": steps.tenant_id, "most": most}))
        except (StillReferenced, Invalid):
            raise PurgeIncomplete(
                f"Rows of {table.name} cannot go: rows of a table that no model here declares "
                "refer to them. Name its module in SAAS_MODELS."
            ) from None
