"""The tasks that fold what has changed and put together what is old, in each process that
serves."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog

from saas.background import in_background
from saas.db.database import Database
from saas.errors import Unavailable
from saas.usage.folding import fold
from saas.usage.retention import keep

RETENTION_SECONDS = 3_600


@asynccontextmanager
async def counting(database: Database, interval_seconds: float) -> AsyncIterator[None]:
    """Fold every `interval_seconds` inside the block, and put together what is old once an hour; 0
    does nothing. Where several processes do, one of them is at it at a time."""
    if not interval_seconds:
        yield
        return
    async with in_background(
        _for_ever("fold", lambda: fold(database), 0, interval_seconds),
        # What is old can wait until the process serves.
        _for_ever("retention", lambda: keep(database), interval_seconds, RETENTION_SECONDS),
    ):
        yield


async def _for_ever(
    name: str, work: Callable[[], Awaitable[object]], first_after: float, every: float
) -> None:
    await asyncio.sleep(first_after)
    while True:
        try:
            await work()
        except Unavailable:  # The database comes back.
            structlog.get_logger().warning("usage_task_put_off", task=name)
        except Exception as error:
            structlog.get_logger().error("usage_task_failed", task=name, exc_info=error)
        await asyncio.sleep(every)
