"""What is old is kept in less detail, and at last not at all, as each tenant's limits say
(docs/limits.md): minutes are put together into quarter hours, these into days in UTC.

Each batch is one statement that takes rows away and adds up what they held, so nothing is lost or
counted twice, whoever is killed in between.
"""

from sqlalchemy import Table

from saas.db.database import Database
from saas.db.idempotency import try_lock
from saas.db.models import table_of
from saas.db.transaction import platform_transaction
from saas.usage.events import OLDEST_DAYS
from saas.usage.forgetting import tables_of_figures
from saas.usage.models import UsageActivity, UsageDay, UsageMeter, UsageRequests
from saas.usage.retention_statements import KEEPING, dropped, put_together, swept

BATCH_ROWS = 20_000

# Whatever the limit: the figures of this month and the growth of thirty days are made of these, and
# quotas of meters count the whole month of each event that may still be told.
_MONTH = """least(date_trunc('month', now(), 'UTC'),
      date_subtract(date_trunc('day', now(), 'UTC'), interval '30 days', 'UTC'))"""
_MONTHS_OF_EVENTS = f"""date_trunc('month',
      date_subtract(now(), interval '{OLDEST_DAYS + 1} days', 'UTC'), 'UTC')"""
_DATED: tuple[tuple[Table, str, str | None], ...] = (
    (table_of(UsageRequests), "at", _MONTH),
    (table_of(UsageActivity), "at", None),
    (table_of(UsageMeter), "at", _MONTHS_OF_EVENTS),
    (table_of(UsageDay), "day", _MONTH),
)
# Dropped first: what goes for good need not be put together before.
STEPS = {
    **{
        f"drop {table.name}": dropped(table, column, unless=needed_since)
        for table, column, needed_since in _DATED
    },
    "quarters": put_together(1, 15),
    "days": put_together(15, 1440),
}


async def keep(database: Database, *, batch_rows: int = BATCH_ROWS) -> dict[str, int]:
    """Put together and drop what is due, for all tenants; how many rows each step took away.
    Nothing while another process is at it."""
    sweeps = {f"sweep {table.name}": swept(table) for table in tables_of_figures()}
    return {
        name: await _in_batches(database, statement, batch_rows)
        for name, statement in (STEPS | sweeps).items()
    }


async def _in_batches(database: Database, statement: str, most: int) -> int:
    taken = 0
    while True:
        async with platform_transaction(database) as work:
            if not await try_lock(KEEPING):
                return taken
            batch: int = (await work.fetch(statement, [most]))[0]["taken"]
        taken += batch
        if batch < most:
            return taken
