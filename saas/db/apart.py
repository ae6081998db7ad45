"""A transaction beside the current one, for what must stay whatever becomes of that."""

from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

from saas.db.database import Database
from saas.db.transaction import Transaction


@asynccontextmanager
async def apart(database: Database, *, lane: Hashable | None = None) -> AsyncIterator[None]:
    """Commits at the end of the block, rolls back on any error; then the transaction before it is
    the current one again, if there was one. It has a connection of its own, from the share `lane`
    of the pool if that is not the tenant's, and waits for locks that the other one holds."""
    async with Transaction(database.app, lane=lane) as beside:
        yield
        await beside.commit()
