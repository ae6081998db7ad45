"""The share that one tenant has of a pool, and the turns of those who wait."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import pytest

from saas.context import Principal, acting_as
from saas.db import lanes as lanes_module
from saas.db.connection import TenantConnection
from saas.db.lanes import IMPORTS, LOOK_UPS, Lanes, LaneSizes, Place
from saas.db.pool import Pool
from saas.db.transaction import Transaction
from saas.errors import TooManyAtOnce, Unavailable
from saas.settings import Settings

SIZE, SHARE = 3, 2
NewPool = Callable[..., Pool]


@pytest.fixture
async def new_pool(settings: Settings) -> AsyncIterator[NewPool]:
    made: list[Pool] = []

    def make(lane_size: int | None, *, seconds: float = 0.5, size: int = SIZE) -> Pool:
        made.append(
            Pool(
                str(settings.database_url),
                TenantConnection,
                size=size,
                acquire_timeout_seconds=seconds,
                lane_size=lane_size,
            )
        )
        return made[-1]

    yield make
    for pool in made:
        await pool.close()


async def ask(pool: Pool, tenant: UUID, until: asyncio.Event | None = None) -> None:
    """One transaction of `tenant`; it holds its connection until the event."""
    with acting_as(Principal(tenant_id=tenant, actor="system:test")):
        async with Transaction(pool, read_only=True) as work:
            await work.fetch("SELECT 1")
            if until is not None:
                await until.wait()
            await work.commit()


@asynccontextmanager
async def flood(pool: Pool, tenant: UUID, requests: int) -> AsyncIterator[list[asyncio.Task[None]]]:
    """So many transactions of `tenant` at once, each of which holds what it gets."""
    end = asyncio.Event()
    tasks = [asyncio.create_task(ask(pool, tenant, end)) for _ in range(requests)]
    await asyncio.sleep(0.1)
    try:
        yield tasks
    finally:
        end.set()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_tenant_that_holds_its_share_leaves_the_others_theirs(new_pool: NewPool) -> None:
    bounded, unbounded, noisy = new_pool(SHARE), new_pool(None), uuid4()

    async with flood(bounded, noisy, 20):
        await ask(bounded, uuid4())
    async with flood(unbounded, noisy, 20):
        with pytest.raises(Unavailable):
            await ask(unbounded, uuid4())


class Clock:
    """Stands still until it is moved."""

    now = 50.0

    def __call__(self) -> float:
        return self.now


class Taker:
    """Takes what one lane gets, and gives the first of it back."""

    def __init__(self, lanes: Lanes[None], lane: object) -> None:
        self._lanes, self._lane = lanes, lane
        self._places: list[Place] = []

    def take(self, most: int = 9) -> int:
        """How many more things it gets."""
        got = 0
        while got < most and self._lanes.has_room(self._lane):
            self._places.append(self._lanes.enter(self._lane))
            got += 1
        return got

    def give_back(self, count: int = 1) -> None:
        for _ in range(count):
            self._lanes.leave(self._places.pop(0))


async def test_a_tenant_alone_has_more_than_one_among_others() -> None:
    clock = Clock()
    lanes: Lanes[None] = Lanes(LaneSizes(alone=4, among_others=2), clock=clock)
    one, other = Taker(lanes, uuid4()), Taker(lanes, uuid4())

    assert one.take() == 4
    assert other.take() == 2
    # Both are at work; who has too much gets nothing until it has less than its part.
    for _ in range(2):
        one.give_back()
        assert one.take() == 0
    one.give_back()
    assert one.take() == 1
    # The other one stops, and has not been here for a while.
    other.give_back(2)
    assert one.take() == 0
    clock.now += 2.1
    assert one.take() == 2
    # It is back, if only for a moment.
    assert other.take(1) == 1
    other.give_back()
    one.give_back(3)
    assert one.take() == 1


async def test_half_of_a_part_is_for_when_the_other_half_is_at_something_slow() -> None:
    clock, tenant = Clock(), uuid4()
    lanes: Lanes[None] = Lanes(LaneSizes(alone=9, among_others=4), clock=clock)
    one, other = Taker(lanes, tenant), Taker(lanes, uuid4())
    assert other.take(1) == 1

    for _ in range(4):
        lanes.line_up(tenant)
    assert one.take() == 4
    lanes.line_up(tenant)
    one.give_back(2)
    assert one.take() == 0
    one.give_back()
    assert one.take() == 1
    # What is out for so long may not be back soon.
    clock.now += 0.21
    assert one.take() == 2


@pytest.mark.parametrize("lane", [LOOK_UPS, IMPORTS])
async def test_a_lane_of_no_tenant_neither_disturbs_one_nor_has_more_than_its_part(
    lane: str,
) -> None:
    lanes: Lanes[None] = Lanes(LaneSizes(alone=4, among_others=2), clock=Clock())

    assert Taker(lanes, lane).take() == 2
    assert Taker(lanes, uuid4()).take() == 4


async def test_a_tenant_that_is_alone_again_gets_all_that_stands_free(
    new_pool: NewPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes_module, "_LATELY_SECONDS", 0)
    pool, one, other = new_pool(1, size=5), uuid4(), uuid4()
    held = [await pool.acquire(one)]
    others = [await pool.acquire(other), await pool.acquire(uuid4())]
    waiting = [asyncio.create_task(pool.acquire(one)) for _ in range(2)]
    await asyncio.sleep(0)

    pool.release(others.pop())
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    pool.release(others.pop())

    held += await asyncio.gather(*waiting)
    for connection in held:
        pool.release(connection)


Spell = Callable[[float], None]


@pytest.fixture
def lately(monkeypatch: pytest.MonkeyPatch) -> Spell:
    """Sets for how many seconds a tenant that was here counts as at work; fewer than before is as
    if that time had passed."""
    return lambda seconds: monkeypatch.setattr(lanes_module, "_LATELY_SECONDS", seconds)


async def crowded(pool: Pool, one: UUID) -> TenantConnection:
    """What `one` holds, which is its share while another tenant was here lately."""
    held = await pool.acquire(one)
    pool.release(await pool.acquire(uuid4()))
    return held


async def in_line(pool: Pool, tenant: UUID) -> asyncio.Task[TenantConnection]:
    task = asyncio.create_task(pool.acquire(tenant))
    await asyncio.sleep(0)
    assert not task.done()
    return task


@pytest.mark.parametrize("seconds", [0.1, 60])
async def test_who_waits_gets_what_stands_free_once_the_others_are_long_gone(
    new_pool: NewPool, lately: Spell, seconds: float
) -> None:
    lately(60)
    pool, one = new_pool(1, size=5, seconds=seconds), uuid4()
    held = [await crowded(pool, one)]
    waiting = [await in_line(pool, one) for _ in range(3)]

    lately(0)

    # Nothing comes back, nobody else asks, and one of them has to connect.
    held += await asyncio.wait_for(asyncio.gather(*waiting), 10)
    for connection in held:
        pool.release(connection)


async def test_who_comes_later_passes_nobody_of_the_own_tenant(
    new_pool: NewPool, lately: Spell
) -> None:
    lately(60)
    pool, one = new_pool(1, seconds=60), uuid4()
    held = await crowded(pool, one)
    first = await in_line(pool, one)

    lately(0)
    second = asyncio.create_task(pool.acquire(one))
    done, _ = await asyncio.wait({first, second}, return_when="FIRST_COMPLETED", timeout=10)

    assert done == {first}
    pool.release(held)
    for task in (first, second):
        pool.release(await task)


async def test_a_lost_connection_of_the_last_other_tenant_makes_room_for_all_it_can(
    new_pool: NewPool, lately: Spell
) -> None:
    lately(0)
    pool, one = new_pool(1, size=5, seconds=60), uuid4()
    held, other = await pool.acquire(one), await pool.acquire(uuid4())
    waiting = [await in_line(pool, one) for _ in range(3)]

    pool.discard(other)

    for connection in [held, *await asyncio.wait_for(asyncio.gather(*waiting), 10)]:
        pool.release(connection)


async def test_who_waits_for_the_own_tenant_too_long_is_told_so(new_pool: NewPool) -> None:
    pool, noisy = new_pool(SHARE), uuid4()

    async with flood(pool, noisy, SHARE):
        with pytest.raises(TooManyAtOnce) as refusal:
            await ask(pool, noisy)

    assert (refusal.value.status, refusal.value.headers) == (429, {"Retry-After": "1"})
    await ask(pool, noisy)


async def test_the_line_of_one_tenant_has_an_end(new_pool: NewPool) -> None:
    pool, noisy = new_pool(SHARE, seconds=60), uuid4()

    async with flood(pool, noisy, SHARE + 1_000) as tasks:
        with pytest.raises(TooManyAtOnce):
            await ask(pool, noisy)
        await ask(pool, uuid4())
        # Nobody's time was over: the last one was refused for the line alone.
        assert not any(task.done() for task in tasks)


async def test_those_who_wait_are_served_tenant_by_tenant(new_pool: NewPool) -> None:
    pool, holder = new_pool(None), uuid4()
    noisy, quiet = uuid4(), uuid4()
    served: list[UUID] = []

    async def one(tenant: UUID) -> None:
        await ask(pool, tenant)
        served.append(tenant)

    connections = [await pool.acquire(holder) for _ in range(SIZE)]
    waiting = [asyncio.create_task(one(noisy)) for _ in range(5)]
    await asyncio.sleep(0)
    waiting.append(asyncio.create_task(one(quiet)))
    await asyncio.sleep(0)
    # One connection for all of them: it goes from hand to hand.
    pool.release(connections.pop())
    await asyncio.gather(*waiting)
    for connection in connections:
        pool.release(connection)

    assert served == [noisy, quiet, noisy, noisy, noisy, noisy]


async def test_cancelled_and_lost_requests_leave_every_share_whole(new_pool: NewPool) -> None:
    pool, chance = new_pool(SHARE), random.Random(11)
    tenants = [uuid4() for _ in range(4)]

    async def lose_or_ask() -> None:
        with acting_as(Principal(tenant_id=chance.choice(tenants), actor="system:test")):
            async with Transaction(pool, read_only=chance.random() < 0.5) as work:
                lost = "SELECT pg_terminate_backend(pg_backend_pid())"
                slow = f"SELECT pg_sleep({chance.random() / 200})"
                await work.fetch(lost if chance.random() < 0.1 else slow)
                await work.commit()

    async def cancelled_somewhere() -> None:
        task = asyncio.create_task(lose_or_ask())
        await asyncio.sleep(chance.random() / 100)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if not task.cancelled() and (error := task.exception()):
            assert isinstance(error, Unavailable | TooManyAtOnce)

    for _ in range(8):
        await asyncio.gather(*(cancelled_somewhere() for _ in range(40)))

    for tenant in tenants:
        held = [await asyncio.wait_for(pool.acquire(tenant), 2) for _ in range(SHARE)]
        held.append(await asyncio.wait_for(pool.acquire(uuid4()), 2))
        with pytest.raises(TooManyAtOnce):
            await pool.acquire(tenant)
        for connection in held:
            pool.release(connection)
