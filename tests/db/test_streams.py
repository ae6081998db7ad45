"""All rows of a query from a cursor, in both twins."""

import asyncio
import gc
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import aclosing, closing
from typing import Any

import pytest
from msgspec.structs import astuple

from saas.context import acting_as
from saas.db.repository import TenantRepository
from saas.db.where import where
from saas.errors import BadRequest, Invalid, Unbound
from saas.features.projects import Project, ProjectRead
from saas.features.tasks import Task, TaskRead
from twins import Twin, someone

# asyncpg's own statements are cursors too, without a name.
CURSORS = "SELECT count(*) FROM pg_cursors WHERE name <> ''"
TENANT = "current_setting('app.tenant_id')::uuid"
MANY = (
    "INSERT INTO projects (tenant_id, name, budget_cents, created_by, updated_by) "
    f"SELECT {TENANT}, 'p' || uuidv7(), n, 'a', 'a' FROM generate_series(1, %d) AS n"
)


@pytest.fixture(params=["async", "sync"])
async def twin(request: pytest.FixtureRequest, library: Any) -> AsyncIterator[Twin]:
    urls = library.url("saas_app"), library.url("saas_platform")
    async with Twin(request.param, urls).opened() as twin:
        yield twin


def projects_of(twin: Twin) -> Any:
    return twin.repository(Project, ProjectRead)


async def test_every_row_comes_once_in_order_and_no_foreign_one(twin: Twin) -> None:
    projects = projects_of(twin)
    with acting_as(someone()):
        async with twin.transaction() as work:
            await work.fetch(MANY % 50)
    with acting_as(someone()):
        async with twin.transaction() as work:
            await work.fetch(MANY % 1234)
        async with twin.transaction(read_only=True) as work:
            query = where(budget_cents__gt=34, sort="budget_cents", limit=1)
            seen = [row.budget_cents async for row in projects.stream(query, batch=100)]
            assert await work.fetch(CURSORS) == [(0,)]

    assert seen == list(range(35, 1235))


async def test_rows_have_the_fields_that_are_asked_for(twin: Twin) -> None:
    projects = projects_of(twin)
    with acting_as(someone()):
        async with twin.transaction() as work:
            await work.fetch(MANY % 3)
        async with twin.transaction(read_only=True):
            some = where(sort="budget_cents", fields="budget_cents,is_active")
            rows = [row async for row in projects.stream(some, batch=2)]
            whole = [row async for row in projects.stream(batch=2)]

    assert [astuple(row) for row in rows] == [(True, n) for n in (1, 2, 3)]
    assert [type(row) for row in whole] == [ProjectRead] * 3


async def test_a_stream_that_is_left_early_leaves_the_transaction_usable(twin: Twin) -> None:
    projects = projects_of(twin)
    with acting_as(someone()):
        async with twin.transaction() as work:
            await work.fetch(MANY % 30)
            for _ in range(3):
                async for row in projects.stream(where(sort="budget_cents"), batch=2):
                    if row.budget_cents == 3:
                        break
                await asyncio.sleep(0)
            assert await projects.count() == 30
        async with twin.transaction():
            assert len([row async for row in projects.stream()]) == 30


async def test_closing_a_stream_frees_its_cursor(twin: Twin) -> None:
    inner = projects_of(twin).inner
    with acting_as(someone()):
        async with twin.transaction() as work:
            await work.fetch(MANY % 30)
            if twin.is_async:
                async with aclosing(inner.stream(batch=2)) as rows:
                    await anext(rows)
                    assert await work.fetch(CURSORS) == [(1,)]
            else:
                with closing(inner.stream(batch=2)) as rows:
                    next(rows)
                    assert await work.fetch(CURSORS) == [(1,)]
            assert await work.fetch(CURSORS) == [(0,)]


async def test_streams_of_two_kinds_can_be_read_in_turns(twin: Twin) -> None:
    projects, tasks = projects_of(twin), twin.repository(Task, TaskRead)
    with acting_as(someone()):
        async with twin.transaction():
            for name in ("one", "two"):
                project = await projects.create({"name": name})
                for number in range(3):
                    await tasks.create({"project_id": project.id, "title": f"{name} {number}"})
        for outer, within in ((projects, tasks), (tasks, projects), (projects, projects)):
            async with twin.transaction(read_only=True):
                seen = [
                    (one.id, other.id)
                    async for one in outer.stream(batch=1)
                    async for other in within.stream(batch=1)
                ]
            sizes = {projects: 2, tasks: 6}
            assert len(set(seen)) == len(seen) == sizes[outer] * sizes[within]


async def test_a_fault_of_the_consumer_is_what_is_raised(twin: Twin) -> None:
    projects = projects_of(twin)

    async def consume() -> None:
        async with twin.transaction() as work:
            await work.fetch(MANY % 5)
            async for _ in projects.stream(batch=2):
                raise ZeroDivisionError

    with acting_as(someone()):
        with pytest.raises(ZeroDivisionError):
            await consume()
        async with twin.transaction():
            assert await projects.count() == 0


async def test_a_statement_that_fails_inside_a_loop_is_what_is_raised(twin: Twin) -> None:
    projects = projects_of(twin)

    async def consume() -> None:
        async with twin.transaction() as work:
            await work.fetch(MANY % 5)
            async for row in projects.stream(batch=2):
                await projects.create({"name": row.name, "budget_cents": "no number"})

    with acting_as(someone()):
        with pytest.raises(Invalid):
            await consume()
        async with twin.transaction():
            assert await projects.count() == 0


async def test_a_stream_outlives_neither_its_transaction_nor_its_tenant(twin: Twin) -> None:
    projects = projects_of(twin)
    with acting_as(someone()):
        async with twin.transaction() as work:
            await work.fetch(MANY % 5)
            rows = projects.stream(batch=1)
            await anext(rows)
            with acting_as(someone()), pytest.raises(Unbound):
                await anext(rows)
        with pytest.raises(Unbound):
            await anext(projects.stream())


async def test_a_wrong_query_is_refused_before_any_cursor(twin: Twin) -> None:
    with acting_as(someone()):
        async with twin.transaction() as work:
            with pytest.raises(BadRequest, match="Unknown field"):
                await anext(projects_of(twin).stream(where(secret=1)))
            assert await work.fetch(CURSORS) == [(0,)]


@pytest.mark.long
async def test_memory_stays_flat(twin: Twin) -> None:
    rows_in_all, batch = 20_000, 200
    with acting_as(someone()):
        async with twin.transaction() as work:
            await work.fetch(MANY % rows_in_all)
        async with twin.transaction(read_only=True):
            await projects_of(twin).count()
            gc.collect()
            tracemalloc.start()
            number = 0
            async for _ in projects_of(twin).stream(batch=batch):
                number += 1
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()

    assert number == rows_in_all
    # A row of 20,000 takes some 700 bytes: all of them would be 14 million.
    assert peak < 3_000_000


async def test_a_loop_that_is_left_ends_quietly_with_the_transaction(library: Any) -> None:
    """Left for the collector, the generator ends in another task, maybe during the COMMIT."""
    complaints: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, fault: complaints.append(fault))
    twin = Twin("async", (library.url("saas_app"), library.url("saas_platform")))
    projects = TenantRepository(Project, ProjectRead)
    try:
        async with twin.opened():
            with acting_as(someone()):
                for _ in range(5):
                    async with twin.transaction() as work:
                        await work.fetch(MANY % 5)
                        async for _ in projects.stream(batch=1):
                            break
                async with twin.transaction():
                    assert await projects.count() == 25
            gc.collect()
            await asyncio.sleep(0.05)
    finally:
        loop.set_exception_handler(None)

    assert complaints == []
