"""ORM sessions: bound at BEGIN, and held to their tenant by either lock alone."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import aliased

from saas.context import Principal, acting_as
from saas.db import scoping
from saas.db.models import table_of
from saas.db.orm import async_engine, async_sessions
from saas.db.roles import APP
from saas.db.sync.orm import sync_engine, sync_sessions
from saas.errors import AlreadyExists, Conflict, Unbound, Unscoped
from saas.features.projects import Project
from saas.features.tasks import Task
from saas.tenancy.models import Tenant
from twins import either, maybe, someone

NO_POLICIES = """
DO $$ DECLARE found record; BEGIN
  FOR found IN SELECT polname, polrelid::regclass AS name FROM pg_policy LOOP
    EXECUTE format('DROP POLICY %I ON %s', found.polname, found.name);
  END LOOP;
  FOR found IN SELECT oid::regclass AS name FROM pg_class WHERE relrowsecurity LOOP
    EXECUTE format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', found.name);
  END LOOP;
END $$"""


class Sessions:
    """Sessions of either kind, as async ones."""

    def __init__(self, name: str, url: str) -> None:
        self.is_async = name == "async"
        self.engine: Any = async_engine(url) if self.is_async else sync_engine(url)
        self.make: Any = (async_sessions if self.is_async else sync_sessions)(self.engine)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Any]:
        async with either(self.make.begin()) as session:
            yield Session(session)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Any]:
        async with either(self.make()) as session:
            yield Session(session)

    async def close(self) -> None:
        await maybe(self.engine.dispose())


class Session:
    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self.inner, name)

        async def call(*arguments: Any, **options: Any) -> Any:
            return await maybe(method(*arguments, **options))

        return call

    async def all(self, statement: Any, **options: Any) -> list[Any]:
        return list((await self.execute(statement, execution_options=options)).scalars())


@pytest.fixture(params=["async", "sync"])
async def sessions(request: pytest.FixtureRequest, library: Any) -> AsyncIterator[Sessions]:
    made = Sessions(request.param, library.url(APP))
    yield made
    await made.close()


@pytest.fixture(params=["both", "filter", "rls"])
async def locked(
    request: pytest.FixtureRequest, sessions: Sessions, new_database: Any, monkeypatch: Any
) -> AsyncIterator[Sessions]:
    """With both locks, and with either of them alone."""
    if request.param == "both":
        yield sessions
        return
    database = new_database()
    if request.param == "filter":
        database.run(NO_POLICIES)
    else:
        monkeypatch.setattr(
            scoping, "bound_tenant_predicate", lambda table: table.c.tenant_id.is_not(None)
        )
    made = Sessions("async" if sessions.is_async else "sync", database.url(APP))
    yield made
    await made.close()


async def with_rows(sessions: Sessions, *names: str) -> Principal:
    principal = someone("orm")
    with acting_as(principal):
        async with sessions.begin() as session:
            for name in names:
                session.inner.add(Project(name=name))
    return principal


async def test_rows_of_another_tenant_are_out_of_reach(locked: Sessions) -> None:
    theirs = await with_rows(locked, "theirs")
    with acting_as(theirs):
        async with locked.begin() as session:
            (row,) = await session.all(select(Project))
    mine = await with_rows(locked, "mine")
    other = aliased(Project)
    table = table_of(Project)
    with acting_as(mine):
        async with locked.begin() as session:
            assert await session.all(select(Project.name)) == ["mine"]
            assert await session.all(select(other.name)) == ["mine"]
            assert await session.all(select(table.c.name)) == ["mine"]
            assert await session.all(select(func.count()).select_from(Project)) == [1]
            assert await session.all(select(Project.name).where(Project.id == row.id)) == []
            assert await session.get(Project, (theirs.tenant_id, row.id)) is None
            assert await session.get(Project, (mine.tenant_id, row.id)) is None
        async with locked.begin() as session:
            changed = await session.execute(update(Project).values(description="x"))
            assert changed.rowcount == 1
            changed = await session.execute(update(table).values(description="y"))
            assert changed.rowcount == 1
            gone = await session.execute(delete(Task).where(Task.id == row.id))
            assert gone.rowcount == 0
            gone = await session.execute(delete(Project).where(Project.name != ""))
            assert gone.rowcount == 1
    with acting_as(theirs):
        async with locked.begin() as session:
            (kept,) = await session.all(select(Project))
    assert (kept.name, kept.description, kept.version) == ("theirs", None, 1)


async def test_a_foreign_object_cannot_be_changed(locked: Sessions) -> None:
    theirs = await with_rows(locked, "theirs")
    with acting_as(theirs):
        async with locked.begin() as session:
            (row,) = await session.all(select(Project))

    async def change(remove: bool) -> None:
        async with locked.begin() as session:
            held = await session.merge(row, load=False)
            if remove:
                await session.delete(held)
            else:
                held.description = "mine"

    with acting_as(someone()):
        for remove in (True, False):
            with pytest.raises(Unscoped, match="another tenant"):
                await change(remove)
    with acting_as(theirs):
        await change(remove=False)
        async with locked.begin() as session:
            assert [r.description for r in await session.all(select(Project))] == ["mine"]


async def test_either_lock_was_really_out(new_database: Any, monkeypatch: Any) -> None:
    """With both of them out the same queries see everything."""
    database = new_database()
    database.run(NO_POLICIES)
    monkeypatch.setattr(
        scoping, "bound_tenant_predicate", lambda table: table.c.tenant_id.is_not(None)
    )
    open_to_all = Sessions("sync", database.url(APP))
    await with_rows(open_to_all, "theirs")
    with acting_as(await with_rows(open_to_all, "mine")):
        async with open_to_all.begin() as session:
            assert sorted(await session.all(select(Project.name))) == ["mine", "theirs"]
            changed = await session.execute(update(Project).values(description="x"))
    await open_to_all.close()

    assert changed.rowcount == 2


async def test_bookkeeping_is_filled_in_and_locks_optimistically(sessions: Sessions) -> None:
    principal = await with_rows(sessions, "Apollo")
    with acting_as(principal):
        async with sessions.begin() as session:
            (row,) = await session.all(select(Project))
            assert (row.version, row.created_by, row.tenant_id) == (
                1,
                "system:orm",
                principal.tenant_id,
            )
            made = row.updated_at
    editor = Principal(tenant_id=principal.tenant_id, actor="member:ann")
    with acting_as(editor):
        async with sessions.begin() as session:
            (row,) = await session.all(select(Project))
            row.description = "Moon"
        assert (row.version, row.updated_by, row.created_by) == (2, "member:ann", "system:orm")
        assert row.updated_at > made
        async with sessions.begin() as session:
            await session.execute(update(Project).values(is_active=False))
        async with sessions.begin() as session:
            (now,) = await session.all(select(Project))
        assert (now.version, now.updated_by, now.is_active) == (3, "member:ann", False)

        async def stale() -> None:
            async with sessions.begin() as session:
                held = await session.merge(row, load=False)
                held.description = "Mars"

        with pytest.raises(Conflict):
            await stale()


async def test_soft_deleted_rows_are_absent_unless_asked_for(sessions: Sessions) -> None:
    principal = await with_rows(sessions, "Apollo", "Gemini")
    with acting_as(principal):
        async with sessions.begin() as session:
            (row,) = await session.all(select(Project).where(Project.name == "Apollo"))
            row.deleted_at = row.created_at
        assert row.deleted_by == "system:orm"
        async with sessions.begin() as session:
            assert await session.all(select(Project.name)) == ["Gemini"]
            assert len(await session.all(select(Project), deleted="include")) == 2
            await session.refresh(await session.merge(row, load=False))
        async with sessions.begin() as session:
            assert await session.get(Project, (principal.tenant_id, row.id)) is None


async def test_a_session_belongs_to_one_tenant(sessions: Sessions) -> None:
    first, second = await with_rows(sessions, "a"), someone()
    async with sessions.opened() as session:
        with acting_as(first):
            (row,) = await session.all(select(Project))
        with acting_as(second):
            with pytest.raises(Unbound, match="another tenant"):
                await session.all(select(Project))
            with pytest.raises(Unbound, match="another tenant"):
                await session.get(Project, (first.tenant_id, row.id))
            row.description = "x"
            with pytest.raises(Unbound, match="another tenant"):
                await session.flush()
        same_tenant = Principal(tenant_id=first.tenant_id, actor="system:other")
        with acting_as(same_tenant), pytest.raises(Unbound, match="another principal"):
            await session.all(select(Project))
        with acting_as(first):
            await session.rollback()
        with acting_as(same_tenant):
            assert len(await session.all(select(Project))) == 1


async def test_compiled_statements_follow_the_tenant(sessions: Sessions) -> None:
    principals = [await with_rows(sessions, f"only {number}") for number in range(3)]
    for _ in range(4):
        for number, principal in enumerate(principals):
            with acting_as(principal):
                async with sessions.begin() as session:
                    assert await session.all(select(Project.name)) == [f"only {number}"]


async def test_unbound_is_refused_before_any_sql_and_does_no_harm(sessions: Sessions) -> None:
    async with sessions.opened() as session:
        with pytest.raises(Unbound):
            await session.all(select(Project))
    for _ in range(3):
        with pytest.raises(Unbound):
            async with either(sessions.engine.connect()) as connection:
                await maybe(connection.execute(select(func.now())))
    with acting_as(await with_rows(sessions, "a")):
        async with sessions.begin() as session:
            bound = await session.execute(select(func.current_setting("app.tenant_id")))
            assert len(bound.all()) == 1


REFUSED: dict[str, Any] = {
    "text": text("SELECT name FROM projects"),
    "a control table": select(Tenant.slug),
    "a bulk insert": insert(Project).values(name="x"),
    "a change of a control table": update(Tenant).values(name="x"),
}


@pytest.mark.parametrize("shape", REFUSED)
async def test_what_cannot_be_held_to_the_tenant_is_refused(shape: str, sessions: Sessions) -> None:
    with acting_as(await with_rows(sessions, "a")):
        async with sessions.opened() as session:
            with pytest.raises(Unscoped):
                await session.execute(REFUSED[shape])


async def test_rows_of_others_and_of_no_tenant_are_refused(sessions: Sessions) -> None:
    with acting_as(await with_rows(sessions, "a")):
        for row in (Project(name="b", tenant_id=uuid4()), Tenant(slug="abc")):
            async with sessions.opened() as session:
                session.inner.add(row)
                with pytest.raises(Unscoped):
                    await session.flush()
        async with sessions.opened() as session:
            inner = session.inner.sync_session if sessions.is_async else session.inner
            with pytest.raises(Unscoped):
                inner.bulk_save_objects([Project(name="c")])


async def test_refusals_of_the_database_are_those_of_a_repository(sessions: Sessions) -> None:
    async def twice() -> None:
        async with sessions.begin() as session:
            session.inner.add_all([Project(name="same"), Project(name="same")])

    with acting_as(await with_rows(sessions, "a")):
        with pytest.raises(AlreadyExists, match="name"):
            await twice()
        async with sessions.opened() as session:
            with pytest.raises(SQLAlchemyError):
                await session.all(select(func.no_such_function()))
