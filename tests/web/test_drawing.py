"""Whose picture is drawn next. Tests hold the thread until all that they want stand in line."""

import asyncio
import threading
from contextlib import contextmanager

import pytest

from saas.errors import TooManyAtOnce
from saas.web.drawing import MOST_WAITING, Drawing


@contextmanager
def held(drawing):
    """Somebody's picture takes as long as the block, and must be awaited behind it."""
    begun, ended = threading.Event(), threading.Event()

    def draw():
        begun.set()
        ended.wait()
        return b""

    first = asyncio.create_task(drawing.draw("somebody", draw))
    try:
        yield first, begun
    finally:
        ended.set()


async def lined_up(drawing, whose, draw, *, times=1):
    tasks = [asyncio.create_task(drawing.draw(whose, draw)) for _ in range(times)]
    # A task has taken its place once it has run.
    await asyncio.sleep(0)
    return tasks


async def test_tenant_waits_for_one_picture_of_another_and_not_for_all():
    drawing, drawn = Drawing(), []

    with held(drawing):
        many = await lined_up(drawing, "many", lambda: drawn.append("many") or b"", times=5)
        calm = await lined_up(drawing, "calm", lambda: drawn.append("calm") or b"", times=2)
    await asyncio.gather(*many, *calm)

    assert drawn == ["many", "calm", "many", "calm", "many", "many", "many"]


async def test_picture_beyond_those_that_wait_is_refused_to_its_tenant_alone():
    drawing = Drawing()

    with held(drawing):
        many = await lined_up(drawing, "many", lambda: b"many", times=MOST_WAITING)
        with pytest.raises(TooManyAtOnce):
            await drawing.draw("many", lambda: b"one more")
        calm = await lined_up(drawing, "calm", lambda: b"calm")

    assert await asyncio.gather(*many, *calm) == [b"many"] * MOST_WAITING + [b"calm"]
    assert await drawing.draw("many", lambda: b"again") == b"again"


async def test_picture_that_nobody_waits_for_is_not_drawn():
    drawing, drawn = Drawing(), []

    with held(drawing) as (_, begun):
        await asyncio.to_thread(begun.wait)
        left, kept = await lined_up(drawing, "one", lambda: drawn.append(1) or b"", times=2)
        left.cancel()
        await asyncio.sleep(0)
    await kept

    assert drawn == [1]


async def test_what_cannot_be_drawn_fails_alone():
    drawing = Drawing()

    with pytest.raises(ZeroDivisionError):
        await drawing.draw("one", lambda: bytes([1 // 0]))

    assert await drawing.draw("one", lambda: b"next") == b"next"
