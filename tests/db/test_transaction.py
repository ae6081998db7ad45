"""A transaction after its end, under two tasks, cancelled while it begins."""

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Awaitable
from uuid import uuid4

import pytest
from sqlalchemy import text

from saas.context import Principal, RequestOrigin, acting_as
from saas.db.batch_items import BatchItem
from saas.db.connection import PlatformConnection
from saas.db.database import Database
from saas.db.pool import Pool
from saas.db.statements import Statement
from saas.db.transaction import Transaction, platform_transaction, transaction
from saas.errors import SaasError, TenantSuspended, TransactionFailed, Unavailable, Unbound
from saas.features.projects import projects as resource
from saas.settings import Settings

BOUND = (
    "SELECT current_setting('app.tenant_id', true), current_setting('app.actor', true), "
    "current_setting('app.request_id', true), current_setting('transaction_read_only')"
)

projects = resource.repository


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    urls = str(settings.database_url), str(settings.platform_database_url)
    async with Database(*urls, size=2) as database:
        yield database


def acting(name: str = "test") -> Principal:
    return Principal(tenant_id=uuid4(), actor=f"system:{name}")


async def test_statement_after_the_end_raises_instead_of_being_lost(database: Database) -> None:
    with acting_as(acting()):
        async with Transaction(database.app) as work:
            await work.fetch("SELECT 1")
            await work.commit()

            with pytest.raises(Unbound, match="ended"):
                await work.fetch("SELECT 1")


async def test_statements_of_two_tasks_take_turns_on_one_connection(database: Database) -> None:
    backend = "SELECT pg_backend_pid() FROM pg_sleep(0.01)"
    with acting_as(acting()):
        async with transaction(database) as work:
            rows = await asyncio.gather(*(work.fetch(backend) for _ in range(5)))

    assert len({row[0][0] for row in rows}) == 1


async def test_nested_transaction_is_refused(database: Database) -> None:
    with acting_as(acting()):
        async with transaction(database):
            with pytest.raises(RuntimeError, match="open already"):
                async with transaction(database):
                    pass


async def test_cancelled_begin_leaves_nothing_to_the_next(settings: Settings) -> None:
    pool = Pool(
        str(settings.platform_database_url),
        PlatformConnection,
        size=1,
        acquire_timeout_seconds=2,
    )
    await pool.open()

    async def first() -> None:
        with acting_as(acting("first"), RequestOrigin("request-of-first", "127.0.0.1")):
            async with Transaction(pool, read_only=True) as work:
                await work.fetch("SELECT 1")

    for steps in range(40):
        task = asyncio.create_task(first())
        for _ in range(steps % 8):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

        async with Transaction(pool) as work:
            seen = (await work.fetch(BOUND))[0]
            await work.commit()
        assert [value or "" for value in seen] == ["", "", "", "off"]
    await pool.close()


async def test_platform_transaction_is_bound_only_inside_acting_as(database: Database) -> None:
    someone = acting()
    with acting_as(someone):
        async with platform_transaction(database) as work:
            assert (await work.fetch(BOUND))[0][0] == str(someone.tenant_id)
    async with platform_transaction(database) as work:
        assert not (await work.fetch(BOUND))[0][0]


async def test_platform_transaction_follows_the_context_into_one_tenant_alone(
    database: Database,
) -> None:
    someone, other = acting("someone"), acting("other")
    async with platform_transaction(database) as work:
        assert not (await work.fetch(BOUND))[0][0]
        with acting_as(someone):
            assert (await work.fetch(BOUND))[0][:2] == (str(someone.tenant_id), someone.actor)
        assert [value or "" for value in (await work.fetch(BOUND))[0]][:2] == ["", ""]
        with acting_as(other), pytest.raises(Unbound):
            await work.fetch(BOUND)
        with acting_as(someone):
            assert (await work.fetch(BOUND))[0][0] == str(someone.tenant_id)

    with acting_as(other):
        async with platform_transaction(database) as work:
            assert (await work.fetch(BOUND))[0][0] == str(other.tenant_id)


async def test_attempt_that_is_undone_takes_its_binding_with_it(database: Database) -> None:
    someone = acting()
    async with platform_transaction(database) as work:
        await work.fetch("SELECT 1")
        await work.begin_attempt()
        with acting_as(someone):
            assert (await work.fetch(BOUND))[0][0] == str(someone.tenant_id)
        await work.end_attempt()

        # The very same principal again: the connection must know that it is bound no more.
        with acting_as(someone):
            assert (await work.fetch(BOUND))[0][0] == str(someone.tenant_id)
        assert not (await work.fetch(BOUND))[0][0]


async def test_nothing_can_be_done_between_an_accepted_attempt_and_its_end(
    database: Database,
) -> None:
    async with platform_transaction(database) as work:
        with pytest.raises(Unbound):
            await work.begin_attempt()
        await work.fetch("SELECT 1")
        await work.begin_attempt()
        await work.commit()
        with pytest.raises(Unbound):
            await work.fetch("SELECT 1")

        await work.end_attempt()

        assert await work.fetch("SELECT 1")


async def test_snapshot_can_neither_write_nor_hold_up_vacuum_for_ever(database: Database) -> None:
    settings = (
        "transaction_isolation",
        "transaction_read_only",
        "idle_in_transaction_session_timeout",
    )
    asked = ", ".join(f"current_setting('{name}')" for name in settings)
    with acting_as(acting()):
        async with Transaction(database.app, read_only=True, one_snapshot=True) as work:
            rows = await work.fetch(f"SELECT {asked}, {BOUND.removeprefix('SELECT ')}")

    assert tuple(rows[0])[:3] == ("repeatable read", "on", "3min")
    assert rows[0][3]


async def test_savepoints_go_out_with_what_follows(database: Database) -> None:
    sent: list[str] = []
    with acting_as(acting()):
        connection = await database.app.acquire()
        connection.add_query_logger(lambda record: sent.append(record.query))
        database.app.release(connection)
        async with transaction(database):
            made = await projects.create_many([{"name": "Apollo"}, {"name": "Gemini"}])
            await projects.batch([BatchItem(kind="delete", id=row.id) for row in made])
    # asyncpg tells of a message once it has the loop again.
    await asyncio.sleep(0)

    controls = [sql for sql in sent if not sql.startswith(("WITH", "SELECT"))]
    assert [re.sub("SET LOCAL [^;]*;", "", sql) for sql in controls] == [
        "BEGIN;SAVEPOINT batch;SAVEPOINT item",
        "RELEASE SAVEPOINT batch",
        *("SAVEPOINT batch", "SAVEPOINT item"),
        "RELEASE SAVEPOINT batch;COMMIT",
    ]


async def test_what_waits_to_go_out_is_dropped_with_what_it_belongs_to(database: Database) -> None:
    with acting_as(acting()):
        async with transaction(database) as work:
            await work.fetch("SELECT 1")
            await work.begin_attempt()
            with pytest.raises(SaasError):
                await work.fetch("SELECT 1 / 0")
            await work.run_in_turn(Statement(text("SAVEPOINT late")), {}, can_wait=True)
            await work.end_attempt()

            assert (await work.fetch("SELECT 1"))[0][0] == 1


async def test_what_waits_to_go_out_keeps_to_the_binding_of_its_time(database: Database) -> None:
    """A tenant that is entered behind a savepoint would be left again with it."""
    savepoint = Statement(text("SAVEPOINT item"))
    async with platform_transaction(database) as work:
        await work.fetch("SELECT 1")
        with acting_as(someone := acting()):
            await work.run_in_turn(savepoint, {}, can_wait=True)
            await work.fetch("SELECT 1")
            await work.fetch("ROLLBACK TO SAVEPOINT item")

            assert (await work.fetch(BOUND))[0][0] == str(someone.tenant_id)


@pytest.mark.parametrize("is_atomic", [True, False])
async def test_refusal_to_begin_is_none_of_a_row(database: Database, is_atomic: bool) -> None:
    """Savepoints wait for the BEGIN, so it fails inside of them."""
    asked = itertools.count(1)

    async def refuse() -> None:
        raise TenantSuspended

    def recheck() -> Awaitable[None] | None:
        return refuse() if next(asked) == 1 else None

    items = [BatchItem(kind="create", values={"name": name}) for name in ("Apollo", "Gemini")]
    with acting_as(acting()):
        async with Transaction(database.app, recheck=recheck) as work:
            with pytest.raises(TenantSuspended):
                await projects.batch(items, is_atomic=is_atomic)

            assert (next(asked), work.has_begun) == (2, False)
            assert (await projects.list()).items == []


async def test_batch_behind_a_swallowed_error_is_not_done_in_part(database: Database) -> None:
    with acting_as(acting()):
        async with Transaction(database.app) as work:
            await projects.batch([BatchItem(kind="create", values={"name": "Apollo"})])
            with pytest.raises(SaasError):
                await work.fetch("SELECT 1 / 0")
            with pytest.raises(TransactionFailed):
                await projects.batch([BatchItem(kind="create", values={"name": "Gemini"})])
            with pytest.raises(Unavailable):
                await work.commit()
        async with transaction(database, read_only=True):
            assert (await projects.list()).items == []
