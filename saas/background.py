"""Work that goes on beside a block of code."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from contextvars import Context
from typing import Any


@asynccontextmanager
async def in_background(*works: Coroutine[Any, Any, object]) -> AsyncIterator[None]:
    """Run `works` inside the block, and cancel them at its end. Raises there what has ended one,
    unless the block has failed by itself."""
    # An empty context: none may carry the tenant of whoever starts it.
    tasks = [asyncio.create_task(work, context=Context()) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        endings = await asyncio.gather(*tasks, return_exceptions=True)
    # Not in `finally`: it would take the place of a cancellation, and so undo a timeout.
    for ended in endings:
        if isinstance(ended, Exception):
            raise ended
