"""The binding of a connection to its tenant: no statement runs under another's, whatever became of
the request that had the connection before."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import psycopg
import pytest

from isolation.conftest import NewTenant
from isolation.raw import Raw
from isolation.worlds import Caller, Onboard, ask, rows_in
from saas.context import Principal, acting_as
from saas.db.database import Database
from saas.db.roles import APP
from saas.db.transaction import Transaction, platform_transaction, transaction
from saas.errors import Invalid, SaasError, Unavailable, Unbound
from saas.features.projects import projects
from saas.settings import Settings
from saas.web.telemetry import Edge

TENANTS_SEEN = "SELECT DISTINCT tenant_id FROM projects"
SETTING = "SELECT current_setting('app.tenant_id', true) AS tenant"


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """Pools of the test's own; one connection, so that what one leaves behind the next one gets."""
    urls = str(settings.database_url), str(settings.platform_database_url)
    async with Database(*urls, size=1) as database:
        yield database


@pytest.fixture(scope="module")
def tenants(new_tenant: NewTenant) -> list[Principal]:
    return [Principal(tenant_id=new_tenant(), actor=f"system:{number}") for number in range(8)]


async def seen_by(
    principal: Principal, database: Database, *, read_only: bool = False
) -> list[UUID]:
    """The tenants whose rows `principal` sees."""
    with acting_as(principal):
        async with transaction(database, read_only=read_only) as work:
            return [row["tenant_id"] for row in await work.fetch(TENANTS_SEEN)]


def left_open(raw: Raw) -> list[str]:
    """The state of each connection of the app role that is inside a transaction."""
    with psycopg.connect(raw.postgres.dsn(raw.postgres.superuser, raw.database)) as administrator:
        found = administrator.execute(
            "SELECT state FROM pg_stat_activity WHERE usename = %s AND xact_start IS NOT NULL",
            [APP],
        )
        return [state for (state,) in found]


async def left_behind(database: Database) -> tuple[Any, ...]:
    """What is bound on the pool's connection, and what it sees, before anybody has begun."""
    connection = await database.app.acquire()
    try:
        tenant = await connection.fetchval(SETTING)
        return tenant or "", await connection.fetch(TENANTS_SEEN), connection.is_in_transaction()
    finally:
        database.app.release(connection)


CLEAN = ("", [], False)


async def test_a_connection_is_unbound_once_its_transaction_has_ended(
    database: Database, tenants: list[Principal]
) -> None:
    for principal in tenants[:2]:
        assert await seen_by(principal, database) == [principal.tenant_id]
        assert await left_behind(database) == CLEAN

        with acting_as(principal):
            async with Transaction(database.app) as undone:
                assert (await undone.fetch(SETTING))[0]["tenant"] == str(principal.tenant_id)
        assert await left_behind(database) == CLEAN


async def test_a_read_that_lingers_ends_with_the_next_tenants_begin_or_by_itself(
    database: Database, tenants: list[Principal], raw: Raw
) -> None:
    for principal in (*tenants, *tenants):
        assert await seen_by(principal, database, read_only=True) == [principal.tenant_id]

    for _ in range(100):
        if left_open(raw):
            await asyncio.sleep(0.02)
    assert left_open(raw) == []
    assert await left_behind(database) == CLEAN
    assert await seen_by(tenants[0], database, read_only=True) == [tenants[0].tenant_id]
    assert await seen_by(tenants[1], database) == [tenants[1].tenant_id]


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1 / 0",
        "SELECT no_such_column",
        "SELECT set_config('app.tenant_id', 'x', false)",
        "INSERT INTO projects (tenant_id, name, created_by, updated_by) "
        "VALUES (uuidv7(), 'x', 'x', 'x')",
        "SET app.tenant_id = '00000000-0000-7000-8000-000000000000'",
        "SET SESSION app.tenant_id = '00000000-0000-7000-8000-000000000000'",
    ],
)
async def test_a_failed_transaction_leaves_nothing_for_the_next_tenant(
    statement: str, read_only: bool, database: Database, tenants: list[Principal]
) -> None:
    await seen_by(tenants[2], database, read_only=read_only)
    with acting_as(tenants[0]), suppress(SaasError, asyncpg.PostgresError):
        async with transaction(database, read_only=read_only) as work:
            await work.fetch(statement)
            raise Invalid("rolled back")

    assert await left_behind(database) == CLEAN
    assert await seen_by(tenants[1], database) == [tenants[1].tenant_id]


async def test_an_error_that_was_caught_does_not_commit_half_a_transaction(
    database: Database, tenants: list[Principal]
) -> None:
    async def half() -> None:
        async with transaction(database) as work:
            await work.fetch("UPDATE projects SET name = 'half'")
            with suppress(asyncpg.PostgresError):
                await work.fetch("SELECT no_such_column")

    with acting_as(tenants[0]):
        with pytest.raises(Unavailable):
            await half()

        async with transaction(database) as work:
            assert not await work.fetch("SELECT FROM projects WHERE name = 'half'")
    assert await left_behind(database) == CLEAN


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize("statement", ["SELECT pg_sleep(5)", "SELECT generate_series(1, 9999999)"])
async def test_a_cancelled_query_leaves_nothing_for_the_next_tenant(
    statement: str, read_only: bool, database: Database, tenants: list[Principal]
) -> None:
    async def slow() -> None:
        with acting_as(tenants[0]):
            async with transaction(database, read_only=read_only) as work:
                await work.fetch(statement)

    task = asyncio.create_task(slow())
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await left_behind(database) == CLEAN
    assert await seen_by(tenants[1], database) == [tenants[1].tenant_id]


async def test_interleaved_tenants_with_random_cancellations_never_mix(
    settings: Settings, tenants: list[Principal]
) -> None:
    chance = random.Random(2026)
    seen: list[tuple[UUID, UUID | None]] = []
    urls = str(settings.database_url), str(settings.platform_database_url)

    async def request(database: Database, principal: Principal) -> None:
        read_only = chance.random() < 0.5
        with acting_as(principal), suppress(SaasError, asyncpg.PostgresError):
            async with transaction(database, read_only=read_only) as work:
                for statement in (TENANTS_SEEN, "SELECT pg_sleep(0.002)", TENANTS_SEEN):
                    rows = await work.fetch(statement)
                    seen.extend((principal.tenant_id, row.get("tenant_id")) for row in rows)
                if chance.random() < 0.1:
                    await work.fetch("SELECT 1 / 0")

    async with Database(*urls, size=4, acquire_timeout_seconds=30) as database:
        for _ in range(10):
            # 40 at once, of 8 tenants, on 4 connections; a third of them is given up midway.
            tasks = [asyncio.create_task(request(database, one)) for one in tenants * 5]
            for task in tasks:
                if chance.random() < 0.33:
                    asyncio.get_running_loop().call_later(chance.random() / 20, task.cancel)
            await asyncio.gather(*tasks, return_exceptions=True)

    assert len(seen) > 400
    assert [pair for pair in seen if pair[1] not in (pair[0], None)] == []
    assert {found for _, found in seen} == {one.tenant_id for one in tenants} | {None}


async def test_interleaved_requests_of_many_tenants_never_mix(app: Edge, onboard: Onboard) -> None:
    chance = random.Random(2026)
    callers = [await onboard() for _ in range(8)]
    foreign: list[str] = []

    async def request(caller: Caller) -> int:
        name = f"{caller.tenant_id} {uuid4()}"
        await caller.create("projects", name=name, description=None)
        answer = await ask(caller, app, "GET", "/v1/projects", params={"limit": "100"})
        names = [row["name"] for row in rows_in(answer)]
        foreign.extend(found for found in names if not found.startswith(caller.tenant_id))
        return len(names)

    tasks = [asyncio.create_task(request(caller)) for caller in callers * 10]
    for task in chance.sample(tasks, 20):
        asyncio.get_running_loop().call_later(chance.random() / 5, task.cancel)
    done = await asyncio.gather(*tasks, return_exceptions=True)

    assert foreign == []
    assert len([seen for seen in done if isinstance(seen, int) and seen > 0]) >= 60


async def test_another_tenant_cannot_enter_a_transaction(
    database: Database, tenants: list[Principal]
) -> None:
    ours, theirs = tenants[:2]
    with acting_as(ours):
        async with transaction(database) as work:
            before = await work.fetch(TENANTS_SEEN)
            with acting_as(theirs):
                with pytest.raises(Unbound):
                    await work.fetch(TENANTS_SEEN)
                with pytest.raises(Unbound):
                    await projects.repository.count()
            assert await work.fetch(TENANTS_SEEN) == before


async def test_two_statements_cannot_be_sent_as_one(
    database: Database, tenants: list[Principal]
) -> None:
    with acting_as(tenants[0]):
        async with Transaction(database.app) as work:
            assert await work.fetch(TENANTS_SEEN)
            with pytest.raises(asyncpg.PostgresSyntaxError):
                await work.fetch(f"SET LOCAL app.tenant_id = '{uuid4()}'; {TENANTS_SEEN}")


async def test_without_a_tenant_nothing_is_sent(
    database: Database, tenants: list[Principal], raw: Raw
) -> None:
    with acting_as(tenants[0]):
        async with transaction(database) as work:
            (backend,) = (await work.fetch("SELECT pg_backend_pid()"))[0]
    before = last_statement(backend, raw)
    assert before is not None

    with pytest.raises(Unbound):
        await projects.repository.count()
    async with transaction(database):
        with pytest.raises(Unbound):
            await projects.repository.count()
    async with Transaction(database.app) as work:
        with pytest.raises(Unbound):
            await work.fetch(TENANTS_SEEN)

    # It may have been thrown away, but nothing new was asked of it.
    assert last_statement(backend, raw) in (before, None)
    assert await seen_by(tenants[1], database) == [tenants[1].tenant_id]


async def test_a_first_statement_without_a_tenant_opens_the_way_for_no_second(
    database: Database, tenants: list[Principal]
) -> None:
    # On a connection that nobody has used before, and on one that has served a tenant.
    for principal in tenants[:2]:
        async with Transaction(database.app) as work:
            for _ in range(2):
                with pytest.raises(Unbound):
                    await work.fetch(TENANTS_SEEN)
        assert await seen_by(principal, database) == [principal.tenant_id]


async def test_the_platforms_connections_see_no_row(
    database: Database, tenants: list[Principal]
) -> None:
    async def ask_platform(statement: str) -> Any:
        async with platform_transaction(database) as work:
            return await work.fetch(statement)

    assert await ask_platform("SELECT 1 FROM plans")
    for statement in (TENANTS_SEEN, "DELETE FROM projects", "SELECT FROM audit_log"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await ask_platform(statement)
        with acting_as(tenants[0]), pytest.raises(asyncpg.InsufficientPrivilegeError):
            await ask_platform(statement)


def last_statement(backend: int, raw: Raw) -> Any:
    """What a connection was last asked, and when; None when it is gone."""
    with psycopg.connect(raw.postgres.dsn(raw.postgres.superuser, raw.database)) as administrator:
        question = "SELECT query_start, query FROM pg_stat_activity WHERE pid = %s"
        return administrator.execute(question, [backend]).fetchone()
