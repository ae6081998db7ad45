"""Whose answer is made next. Tests hold the thread until all that they want stand in line."""

import asyncio
import threading
from contextlib import contextmanager

import pytest

from saas.errors import TooManyAtOnce
from saas.web.slow_answer import MOST_WAITING, Workshop


@contextmanager
def held(workshop):
    """Somebody's answer takes as long as the block, and must be awaited behind it."""
    begun, ended = threading.Event(), threading.Event()

    def make():
        begun.set()
        ended.wait()
        return b""

    first = asyncio.create_task(workshop.made("somebody", make))
    try:
        yield first, begun
    finally:
        ended.set()


async def lined_up(workshop, whose, make, *, times=1):
    tasks = [asyncio.create_task(workshop.made(whose, make)) for _ in range(times)]
    # A task has taken its place once it has run.
    await asyncio.sleep(0)
    return tasks


async def test_tenant_waits_for_one_answer_of_another_and_not_for_all():
    workshop, made = Workshop(), []

    with held(workshop):
        many = await lined_up(workshop, "many", lambda: made.append("many") or b"", times=5)
        calm = await lined_up(workshop, "calm", lambda: made.append("calm") or b"", times=2)
    await asyncio.gather(*many, *calm)

    assert made == ["many", "calm", "many", "calm", "many", "many", "many"]


async def test_answer_beyond_those_that_wait_is_refused_to_its_tenant_alone():
    workshop = Workshop()

    with held(workshop):
        many = await lined_up(workshop, "many", lambda: b"many", times=MOST_WAITING)
        with pytest.raises(TooManyAtOnce):
            await workshop.made("many", lambda: b"one more")
        calm = await lined_up(workshop, "calm", lambda: b"calm")

    assert await asyncio.gather(*many, *calm) == [b"many"] * MOST_WAITING + [b"calm"]
    assert await workshop.made("many", lambda: b"again") == b"again"


async def test_answer_that_nobody_waits_for_is_not_made():
    workshop, made = Workshop(), []

    with held(workshop) as (_, begun):
        await asyncio.to_thread(begun.wait)
        left, kept = await lined_up(workshop, "one", lambda: made.append(1) or b"", times=2)
        left.cancel()
        await asyncio.sleep(0)
    await kept

    assert made == [1]


async def test_what_cannot_be_made_fails_alone():
    workshop = Workshop()

    with pytest.raises(ZeroDivisionError):
        await workshop.made("one", lambda: bytes([1 // 0]))

    assert await workshop.made("one", lambda: b"next") == b"next"
