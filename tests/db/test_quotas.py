"""Row quotas in the data layer, without the app: both twins, and ORM sessions."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from sqlalchemy import func, select, update

from saas.context import Principal, acting_as, tenant_principal
from saas.db import bulk_import, repository, transaction
from saas.db.batch_items import BatchItem
from saas.db.database import Database
from saas.db.models import TenantRow
from saas.db.orm import async_engine, async_sessions
from saas.db.roles import APP, PLATFORM
from saas.db.sync import bulk_import as sync_bulk_import
from saas.db.sync.orm import sync_engine, sync_sessions
from saas.errors import AlreadyExists, QuotaExceeded, Unscoped
from saas.features.projects import Project, ProjectRead
from saas.features.tasks import Task, TaskRead
from saas.limits import Limits
from saas.tenancy.models import ApiKeyUse
from twins import Twin, either, maybe

MOST = 3


def limited(rows: int | None = MOST) -> Principal:
    """A principal of a new tenant that may have so many rows of each table."""
    return tenant_principal(uuid4(), job="test", limits=Limits(rows=rows))


def without_limit(principal: Principal) -> Principal:
    return msgspec.structs.replace(principal, limits=Limits())


@pytest.fixture(params=["async", "sync"])
async def twin(request: pytest.FixtureRequest, library: Any) -> AsyncIterator[Twin]:
    async with Twin(request.param, (library.url(APP), library.url(PLATFORM))).opened() as twin:
        yield twin


async def test_both_twins_refuse_the_row_after_the_last(twin: Twin, projects: Any) -> None:
    principal = limited()

    with acting_as(principal):
        for number in range(MOST):
            async with twin.transaction():
                await projects.create({"name": f"P{number}"})
        with pytest.raises(QuotaExceeded) as refusal:
            async with twin.transaction():
                await projects.create({"name": "One too many"})
        async with twin.transaction():
            assert await projects.count() == MOST

    assert refusal.value.extra == {"limit": "rows", "value": MOST}
    with acting_as(without_limit(principal)):
        async with twin.transaction():
            await projects.create({"name": "A job has no limit"})


async def test_both_twins_keep_of_a_batch_what_has_room(twin: Twin, projects: Any) -> None:
    items = [BatchItem(kind="create", values={"name": f"P{n}"}) for n in range(MOST + 2)]

    with acting_as(limited()):
        async with twin.transaction():
            results = await projects.batch(items, is_atomic=False)
            assert await projects.count() == MOST

    assert [result.status for result in results] == ["created"] * MOST + ["failed"] * 2
    assert all(isinstance(result.refusal, QuotaExceeded) for result in results[MOST:])


async def test_both_twins_import_all_rows_of_a_transaction_or_none(
    twin: Twin, projects: Any
) -> None:
    run: Any = (bulk_import if twin.is_async else sync_bulk_import).import_rows
    rows = [{"name": f"P{n}"} for n in range(MOST + 1)]

    with acting_as(limited()):
        with pytest.raises(QuotaExceeded):
            await maybe(run(projects.inner, rows, database=twin.database))
        async with twin.transaction():
            assert await projects.count() == 0
        done = await maybe(run(projects.inner, rows[:MOST], database=twin.database))

    assert (done.inserted, done.failed) == (MOST, 0)


async def test_a_refusal_that_is_caught_leaves_nothing_behind(twin: Twin, projects: Any) -> None:
    with acting_as(limited(1)):
        async with twin.transaction():
            await projects.create({"name": "First"})
            with pytest.raises(QuotaExceeded):
                await projects.create({"name": "Second"})
            with pytest.raises(AlreadyExists):
                await projects.create({"name": "First"})
        async with twin.transaction():
            assert await projects.count() == 1


async def test_each_table_is_counted_by_itself(twin: Twin, projects: Any) -> None:
    tasks = twin.repository(Task, TaskRead, natural_key=("project_id", "title"))
    uses = twin.repository(ApiKeyUse, UseRead)
    now = datetime.now(UTC)

    with acting_as(limited(1)):
        async with twin.transaction():
            parent = await projects.create({"name": "Parent"})
            await tasks.create({"project_id": parent.id, "title": "T"})
            # Append-only rows are never deleted, and so all count.
            await uses.create({"last_used_at": now})
            with pytest.raises(QuotaExceeded):
                await tasks.create({"project_id": parent.id, "title": "T2"})
            with pytest.raises(QuotaExceeded):
                await uses.create({"last_used_at": now})


async def test_rows_made_at_once_in_one_transaction_are_all_counted(library: Any) -> None:
    projects = repository.TenantRepository(Project, ProjectRead, natural_key=("name",))
    async with Database(library.url(APP), size=1) as database:
        with acting_as(limited()):
            async with transaction.transaction(database):
                creations = (projects.create({"name": f"P{number}"}) for number in range(10))
                made = await asyncio.gather(*creations, return_exceptions=True)
                assert await projects.count() == MOST

    assert sum(isinstance(one, QuotaExceeded) for one in made) == 10 - MOST


class UseRead(msgspec.Struct):
    id: UUID
    last_used_at: datetime


class Sessions:
    """ORM sessions of either kind."""

    def __init__(self, name: str, url: str) -> None:
        self.engine: Any = async_engine(url) if name == "async" else sync_engine(url)
        self.begin: Any = (async_sessions if name == "async" else sync_sessions)(self.engine).begin


@pytest.fixture(params=["async", "sync"])
async def sessions(request: pytest.FixtureRequest, library: Any) -> AsyncIterator[Sessions]:
    made = Sessions(request.param, library.url(APP))
    yield made
    await maybe(made.engine.dispose())


async def flushed(sessions: Sessions, *rows: TenantRow) -> None:
    async with either(sessions.begin()) as session:
        session.add_all(rows)


async def restored(sessions: Sessions, name: str) -> None:
    wanted = select(Project).where(Project.name == name)
    async with either(sessions.begin()) as session:
        found = await maybe(session.execute(wanted, execution_options={"deleted": "include"}))
        found.scalar_one().deleted_at = None


async def counted(sessions: Sessions) -> int:
    async with either(sessions.begin()) as session:
        found = await maybe(session.execute(select(func.count()).select_from(Project)))
    return int(found.scalar_one())


async def test_sessions_refuse_what_has_no_room_and_then_store_nothing(
    sessions: Sessions,
) -> None:
    with acting_as(limited()):
        await flushed(sessions, Project(name="A"), Project(name="B"))
        with pytest.raises(QuotaExceeded):
            await flushed(sessions, Project(name="C"), Project(name="D"))
        await flushed(sessions, Project(name="C"))
        assert await counted(sessions) == MOST


async def test_sessions_count_what_they_restore(sessions: Sessions) -> None:
    with acting_as(limited(1)):
        await flushed(sessions, Project(name="A"))
        async with either(sessions.begin()) as session:
            row = (await maybe(session.execute(select(Project)))).scalar_one()
            row.deleted_at = func.now()
        await restored(sessions, "A")
        async with either(sessions.begin()) as session:
            row = (await maybe(session.execute(select(Project)))).scalar_one()
            row.deleted_at = func.now()
        await flushed(sessions, Project(name="B"))
        with pytest.raises(QuotaExceeded):
            await restored(sessions, "A")
        assert await counted(sessions) == 1


async def test_sessions_with_a_quota_restore_nothing_in_bulk(sessions: Sessions) -> None:
    principal = limited()
    restore = update(Project).values(deleted_at=None)

    with acting_as(principal):
        async with either(sessions.begin()) as session:
            with pytest.raises(Unscoped):
                await maybe(session.execute(restore, execution_options={"deleted": "include"}))
            await maybe(session.execute(update(Project).values(budget_cents=1)))
    with acting_as(without_limit(principal)):
        async with either(sessions.begin()) as session:
            await maybe(session.execute(restore, execution_options={"deleted": "include"}))


async def test_sessions_and_repositories_share_one_count(sessions: Sessions, library: Any) -> None:
    projects = repository.TenantRepository(Project, ProjectRead, natural_key=("name",))

    with acting_as(limited(2)):
        await flushed(sessions, Project(name="A"))
        async with Database(library.url(APP), size=1) as database:
            async with transaction.transaction(database):
                await projects.create({"name": "B"})
            with pytest.raises(QuotaExceeded):
                async with transaction.transaction(database):
                    await projects.create({"name": "C"})
        with pytest.raises(QuotaExceeded):
            await flushed(sessions, Project(name="C"))
