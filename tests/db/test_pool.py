"""The pool under a small size, cancellation and lost connections, on the suite's own server."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from saas.context import Principal, acting_as
from saas.db.connection import TenantConnection
from saas.db.pool import Pool
from saas.db.transaction import Transaction
from saas.errors import ConfigurationError, Unavailable
from saas.settings import Settings

SIZE = 3


@pytest.fixture
async def pool(settings: Settings) -> AsyncIterator[Pool]:
    pool = Pool(
        str(settings.database_url), TenantConnection, size=SIZE, acquire_timeout_seconds=0.5
    )
    await pool.open()
    yield pool
    await pool.close()


def acting(tenant: UUID) -> Principal:
    return Principal(tenant_id=tenant, actor="system:test")


async def ask(pool: Pool, tenant: UUID, sql: str, *, read_only: bool = True) -> str:
    with acting_as(acting(tenant)):
        async with Transaction(pool, read_only=read_only) as work:
            rows = await work.fetch(sql)
            await work.commit()
    return str(rows[0][0])


WHO = "SELECT current_setting('app.tenant_id')"


async def test_no_more_connections_than_its_size_serve_everyone(pool: Pool) -> None:
    backends = "SELECT pg_backend_pid()::text FROM pg_sleep(0.005)"

    seen = await asyncio.gather(*(ask(pool, uuid4(), backends) for _ in range(60)))

    assert 1 <= len(set(seen)) <= SIZE


async def test_who_waits_too_long_is_refused_and_the_others_are_served(pool: Pool) -> None:
    slow = [asyncio.create_task(ask(pool, uuid4(), "SELECT pg_sleep(0.8)")) for _ in range(SIZE)]
    await asyncio.sleep(0.1)

    with pytest.raises(Unavailable):
        await ask(pool, uuid4(), WHO)
    await asyncio.gather(*slow)
    tenant = uuid4()
    assert await ask(pool, tenant, WHO) == str(tenant)


async def test_cancelled_requests_cost_no_place_and_mix_no_tenants(pool: Pool) -> None:
    chance = random.Random(7)

    async def one() -> None:
        tenant = uuid4()
        seconds = chance.random() / 200
        sql = f"SELECT current_setting('app.tenant_id') FROM pg_sleep({seconds})"
        assert await ask(pool, tenant, sql, read_only=chance.random() < 0.5) == str(tenant)

    async def cancelled_somewhere() -> None:
        task = asyncio.create_task(one())
        await asyncio.sleep(chance.random() / 100)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if not task.cancelled() and (error := task.exception()):
            assert isinstance(error, Unavailable)

    for _ in range(8):
        await asyncio.gather(*(cancelled_somewhere() for _ in range(40)))

    held = [await asyncio.wait_for(pool.acquire(), 2) for _ in range(SIZE)]
    for connection in held:
        pool.release(connection)


async def test_lost_connections_are_replaced(pool: Pool) -> None:
    tenant = uuid4()
    for _ in range(SIZE + 2):
        with pytest.raises(Unavailable):
            await ask(pool, tenant, "SELECT pg_terminate_backend(pg_backend_pid())")

    assert await ask(pool, tenant, WHO) == str(tenant)


async def test_a_read_leaves_nothing_open_for_long(pool: Pool, settings: Settings) -> None:
    await ask(pool, uuid4(), WHO)
    await asyncio.sleep(0.3)

    connection = await pool.acquire()
    assert not connection.is_in_transaction()
    assert not connection.lingers
    pool.release(connection)


async def test_a_lingering_read_is_never_seen_by_the_next_tenant(pool: Pool) -> None:
    first, second = uuid4(), uuid4()
    for tenant in (first, second, first):
        assert await ask(pool, tenant, WHO) == str(tenant)
        assert await ask(pool, tenant, WHO, read_only=False) == str(tenant)


class Slow(TenantConnection):
    """Is never made ready."""

    made: asyncio.Queue["Slow"]

    async def set_type_codec(self, *_: Any, **__: Any) -> None:
        self.made.put_nowait(self)
        await asyncio.Event().wait()


async def test_a_request_that_ends_while_it_connects_leaves_no_connection(
    settings: Settings,
) -> None:
    Slow.made = asyncio.Queue()
    pool = Pool(str(settings.database_url), Slow, size=1, acquire_timeout_seconds=5)
    connecting = asyncio.create_task(pool.acquire())
    connection = await asyncio.wait_for(Slow.made.get(), 10)

    connecting.cancel()
    await asyncio.gather(connecting, return_exceptions=True)

    assert connection.is_closed()
    await pool.close()


async def test_an_unreachable_server_is_one_clear_error() -> None:
    pool = Pool(
        "postgresql://saas_app@127.0.0.1:1/saas",
        TenantConnection,
        size=1,
        acquire_timeout_seconds=1,
    )
    with pytest.raises(ConfigurationError, match="cannot connect"):
        await pool.open()
