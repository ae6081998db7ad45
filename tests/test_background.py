"""What goes on beside a block ends with it, and is heard of where it has ended before."""

import asyncio
from uuid import uuid4

import pytest

from saas import context
from saas.background import in_background
from saas.context import acting_as, tenant_principal


async def _fail() -> None:
    raise LookupError("lost")


async def test_works_run_inside_the_block_without_its_tenant_and_end_with_it() -> None:
    seen: list[object] = []
    ended = asyncio.Event()

    async def work() -> None:
        seen.append(context.principal_or_none())
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with acting_as(tenant_principal(uuid4(), job="test")):
        async with in_background(work()):
            await asyncio.sleep(0)
            assert (seen, ended.is_set()) == ([None], False)

    assert ended.is_set()


async def _block(failure: Exception | None = None) -> None:
    """Beside it a work has failed before it ends."""
    async with in_background(_fail(), asyncio.Event().wait()):
        await asyncio.sleep(0)
        if failure is not None:
            raise failure


async def test_what_has_ended_a_work_is_raised_at_the_end_of_the_block() -> None:
    with pytest.raises(LookupError, match="lost"):
        await _block()


async def test_a_block_that_fails_says_so_whatever_has_ended_a_work() -> None:
    with pytest.raises(ValueError, match="own"):
        await _block(ValueError("own"))


async def test_a_timeout_around_a_block_is_one_whatever_has_ended_a_work() -> None:
    async def wait() -> None:
        async with in_background(_fail()):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(wait(), 0.01)
