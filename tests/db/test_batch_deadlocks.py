"""Two batches that want the same rows in opposite orders, stopped where each holds what the other
needs: both succeed, in either mode and either twin."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from saas.context import acting_as
from saas.db.batch_items import BatchItem, BatchResult
from saas.db.where import where
from saas.features.tasks import Task, TaskRead
from twins import Twin, someone

Items = Sequence[BatchItem]
_WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = 'library' AND wait_event_type = 'Lock'"
)


@pytest.fixture(params=["async", "sync"])
async def twin(request: pytest.FixtureRequest, library: Any) -> AsyncIterator[Twin]:
    async with Twin(request.param, (library.url("saas_app"),)).opened() as twin:
        with acting_as(someone()):
            yield twin


@pytest.fixture(params=["atomic", "partial"])
def is_atomic(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "atomic")


class Crossing:
    """Runs batches at once. All of them stop at a row that somebody else has locked, and go on
    together."""

    def __init__(self, twin: Twin, library: Any, is_atomic: bool) -> None:
        self._twin, self._library, self._is_atomic = twin, library, is_atomic

    async def run(self, stop: UUID, *batches: tuple[Any, Items]) -> list[list[BatchResult]]:
        with ExitStack() as stack:
            blocker = stack.enter_context(self._library.connect())
            blocker.execute("SELECT FROM projects WHERE id = %s FOR UPDATE", [stop])
            running = [asyncio.create_task(self._elsewhere(*batch)) for batch in batches]
            watcher = stack.enter_context(self._library.connect(autocommit=True))
            await _until_all_wait(watcher, running)
            blocker.rollback()
            return await asyncio.gather(*running)

    async def _elsewhere(self, repository: Any, items: Items) -> Any:
        if self._twin.is_async:
            return await self._batch(repository, items)
        return await asyncio.to_thread(asyncio.run, self._batch(repository, items))

    async def _batch(self, repository: Any, items: Items) -> list[BatchResult]:
        async with self._twin.transaction():
            results: list[BatchResult] = await repository.batch(items, is_atomic=self._is_atomic)
            return results


@pytest.fixture
def crossing(twin: Twin, library: Any, is_atomic: bool) -> Crossing:
    return Crossing(twin, library, is_atomic)


async def _until_all_wait(
    watcher: psycopg.Connection[Any], running: Sequence[asyncio.Task[Any]]
) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        row = watcher.execute(_WAITING).fetchone()
        if row == (len(running),):
            return
        assert not any(task.done() for task in running), "it ended before it was stopped"
        await asyncio.sleep(0.01)
    raise AssertionError("they do not wait")


def updated(id: UUID, **values: Any) -> BatchItem:
    return BatchItem(kind="update", id=id, values=values)


def deadlocks(library: Any) -> int:
    """How many the server has ended so far."""
    with library.connect() as connection:
        (folder,) = connection.execute("SHOW data_directory").fetchone()
    return (Path(folder).parent / "postgres.log").read_text("utf-8").count("deadlock detected")


def statuses(results: Sequence[BatchResult]) -> list[str]:
    return [result.status for result in results]


async def test_updates_by_id_and_upserts_by_key_of_the_same_rows_all_succeed(
    twin: Twin, projects: Any, crossing: Crossing
) -> None:
    names = [f"Row {9 - number}" for number in range(5)]
    async with twin.transaction():
        rows = await projects.create_many([{"name": name} for name in names])
    updates = [updated(row.id, budget_cents=1) for row in rows]
    upserts = [
        BatchItem(kind="upsert", values={"name": name, "is_active": False}) for name in names
    ]

    outcomes = await crossing.run(rows[2].id, (projects, updates), (projects, upserts))

    assert [set(statuses(results)) for results in outcomes] == [{"updated"}] * 2
    async with twin.transaction(read_only=True):
        page = await projects.list()
    assert {(row.budget_cents, row.is_active, row.version) for row in page.items} == {(1, False, 3)}


async def test_batches_of_several_statements_in_opposite_orders_all_succeed(
    twin: Twin, projects: Any, crossing: Crossing
) -> None:
    async with twin.transaction():
        first, stop, last = await projects.create_many([{"name": name} for name in "abc"])

    def items(one: UUID, other: UUID, budget: int) -> Items:
        # Unlike columns, so that each is a statement of its own.
        return [
            updated(one, budget_cents=budget),
            updated(stop.id, description=f"{budget}"),
            updated(other, is_active=False, description=f"{budget}"),
        ]

    outcomes = await crossing.run(
        stop.id, (projects, items(first.id, last.id, 1)), (projects, items(last.id, first.id, 2))
    )

    assert [statuses(results) for results in outcomes] == [["updated"] * 3] * 2
    async with twin.transaction(read_only=True):
        rows = [await projects.get(row.id) for row in (first, stop, last)]
    assert [row.version for row in rows] == [3, 3, 3]
    assert (rows[0].budget_cents, rows[2].budget_cents) == (1, 2)


async def test_batches_that_make_the_same_rows_by_turns_all_succeed(
    twin: Twin, projects: Any, library: Any, is_atomic: bool
) -> None:
    names = [f"New {number}" for number in range(12)]

    def items(caller: int) -> Items:
        made: Items = []
        for name in names if caller % 2 else names[::-1]:
            made.append(BatchItem(kind="upsert", values={"name": name, "budget_cents": caller}))
            made.append(BatchItem(kind="create", values={"name": f"{name} of {caller}"}))
        return made

    async def carried_out(caller: int) -> list[str]:
        async with twin.transaction():
            return statuses(await projects.batch(items(caller), is_atomic=is_atomic))

    before = deadlocks(library)
    if twin.is_async:
        outcomes = await asyncio.gather(*map(carried_out, range(2)))
    else:
        calls = (asyncio.to_thread(asyncio.run, carried_out(caller)) for caller in range(2))
        outcomes = await asyncio.gather(*calls)

    assert deadlocks(library) == before
    assert [outcome[1::2] for outcome in outcomes] == [["created"] * 12] * 2
    assert sorted(set(outcome[::2]).pop() for outcome in outcomes) == ["created", "updated"]
    async with twin.transaction(read_only=True):
        total = (await projects.list(where(include_total=True))).total
    assert total == 36


async def test_batches_of_parents_and_children_all_succeed(
    twin: Twin, projects: Any, crossing: Crossing
) -> None:
    tasks = twin.repository(Task, TaskRead, natural_key=("project_id", "title"))
    async with twin.transaction():
        first, stop, last = await projects.create_many([{"name": name} for name in "abc"])
    changes = [
        updated(first.id, budget_cents=1),
        updated(stop.id, is_active=False),
        updated(last.id, description="Last"),
    ]
    children = [
        BatchItem(kind="create", values={"project_id": last.id, "title": "One"}),
        BatchItem(kind="create", values={"project_id": stop.id, "title": "Two", "priority": 1}),
        BatchItem(kind="create", values={"project_id": first.id, "title": "3", "status": "todo"}),
    ]

    outcomes = await crossing.run(stop.id, (projects, changes), (tasks, children))

    assert [statuses(results) for results in outcomes] == [["updated"] * 3, ["created"] * 3]
