"""The task that folds what has changed, in each process that serves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from contextvars import Context

import structlog

from saas.db.database import Database
from saas.usage.folding import fold


@asynccontextmanager
async def counting(database: Database, interval_seconds: float) -> AsyncIterator[None]:
    """Fold every `interval_seconds` inside the block; 0 does nothing. Where several processes do,
    one of them is at it at a time."""
    if not interval_seconds:
        yield
        return
    # An empty context: no principal of whoever starts it may act in it.
    task = asyncio.create_task(_fold_for_ever(database, interval_seconds), context=Context())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _fold_for_ever(database: Database, interval_seconds: float) -> None:
    while True:
        try:
            await fold(database)
        except Exception as error:  # The database may be away; it comes back.
            structlog.get_logger().warning("usage_not_folded", exc_info=error)
        await asyncio.sleep(interval_seconds)
