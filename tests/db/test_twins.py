"""The async and the sync data layer do the same: every behaviour runs against both."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from saas.context import RequestOrigin, acting_as
from saas.db.audit import AuditEntry, AuditLog
from saas.db.query import ListQuery
from saas.db.where import where
from saas.errors import (
    AlreadyExists,
    ConfigurationError,
    Invalid,
    NotDeleted,
    NotFound,
    ParentGone,
    SaasError,
    StillReferenced,
    Unavailable,
    Unbound,
    VersionConflict,
)
from saas.features.projects import Project, ProjectRead
from saas.features.tasks import Task, TaskRead
from saas.tenancy.models import ApiKeyRow, Member
from twins import Twin, maybe, someone

BOUND = (
    "SELECT current_setting('app.tenant_id', true), current_setting('app.actor', true), "
    "current_setting('app.request_id', true), current_setting('transaction_read_only')"
)


class KeyRead(msgspec.Struct):
    id: UUID
    version: int
    deleted_at: datetime | None
    secret_hash: bytes
    permissions: list[str] | None
    expires_at: datetime | None


class MemberRead(msgspec.Struct):
    id: UUID
    version: int
    deleted_at: datetime | None
    email: str


def urls(library: Any) -> tuple[str, str]:
    return library.url("saas_app"), library.url("saas_platform")


@pytest.fixture(params=["async", "sync"])
async def twin(request: pytest.FixtureRequest, library: Any) -> AsyncIterator[Twin]:
    async with Twin(request.param, urls(library)).opened() as twin:
        yield twin


@pytest.fixture
async def other_twin(twin: Twin, library: Any) -> AsyncIterator[Twin]:
    async with Twin("sync" if twin.is_async else "async", urls(library)).opened() as twin:
        yield twin


def projects_of(twin: Twin) -> Any:
    return twin.repository(Project, ProjectRead, search=("name",), natural_key=("name",))


def tasks_of(twin: Twin) -> Any:
    return twin.repository(Task, TaskRead, natural_key=("project_id", "title"))


async def life_of_a_row(twin: Twin) -> list[Any]:
    """What each method answers, and each refusal, in one tenant."""
    projects, tasks = projects_of(twin), tasks_of(twin)
    members = twin.repository(Member, MemberRead)
    said: list[Any] = []

    async def ask(call: Any) -> Any:
        """In a transaction of its own, because a refusal of the database ends it."""
        try:
            async with twin.transaction():
                answer = await call
        except SaasError as refusal:
            said.append((type(refusal), str(refusal), refusal.errors))
            return None
        said.append(answer)
        return answer

    apollo = await ask(projects.create({"name": "Apollo", "budget_cents": 2**40}))
    await ask(projects.create({"name": "Apollo"}))
    await ask(projects.create({"name": "Ten %s %% \\ ' \" ü", "description": ""}))
    await ask(projects.create({"name": "A" * 121}))
    await ask(projects.create({"name": "no\x00text"}))
    await ask(projects.create({"name": None}))
    await ask(projects.create({"name": "x", "tenant_id": uuid4()}))
    await ask(projects.update(apollo.id, {"description": "Moon", "is_active": False}))
    await ask(projects.update(apollo.id, {"description": "Moon"}, version=2))
    await ask(projects.update(apollo.id, {"description": "Mars"}, version=1))
    await ask(projects.update(uuid4(), {"description": "Mars"}))
    ann = await ask(members.create({"email": "ann@a.test", "name": "Ann", "role": "member"}))
    await ask(members.create({"email": "bob@a.test", "name": "Bob", "role": "king"}))
    due = date(2027, 1, 31)
    values = {"project_id": apollo.id, "title": "Fly", "due_on": due, "assignee_id": ann.id}
    task = await ask(tasks.create(values))
    await ask(tasks.create({"project_id": uuid4(), "title": "Lost"}))
    await ask(tasks.update(task.id, {"priority": 9}))
    await ask(members.purge(ann.id))
    await ask(tasks.list(ListQuery()))
    await ask(tasks.count(where(due_on__gte=due)))
    await ask(projects.list(where(name__in=["Apollo"], sort="name", include_total=True)))
    await ask(projects.list(where(q="ap", budget_cents__gt=1, offset=0)))
    await ask(tasks.delete(task.id))
    await ask(tasks.get(task.id))
    await ask(tasks.get(task.id, include_deleted=True))
    await ask(projects.delete(apollo.id, version=2))
    await ask(tasks.restore(task.id))
    await ask(projects.restore(apollo.id))
    await ask(projects.restore(apollo.id))
    await ask(tasks.restore(task.id, version=1))
    await ask(tasks.restore(task.id, version=2))
    await ask(projects.purge(apollo.id, version=1))
    await ask(projects.purge(apollo.id))
    await ask(projects.get(apollo.id))
    await ask(tasks.count(where(deleted="include")))
    return said


def without_ids_and_times(said: list[Any]) -> list[Any]:
    """Two lives differ in nothing but these."""
    seen: dict[UUID, int] = {}

    def known(value: Any) -> Any:
        if isinstance(value, msgspec.Struct):
            return type(value), known(msgspec.structs.asdict(value))
        if isinstance(value, dict):
            return {name: known(one) for name, one in value.items()}
        if isinstance(value, list | tuple):
            return [known(one) for one in value]
        if isinstance(value, UUID):
            return seen.setdefault(value, len(seen))
        return type(value) if isinstance(value, datetime) else value

    return [known(one) for one in said]


async def test_a_life_of_rows_reads_the_same_in_both(twin: Twin, other_twin: Twin) -> None:
    with acting_as(someone()):
        here = await life_of_a_row(twin)
    with acting_as(someone()):
        there = await life_of_a_row(other_twin)

    assert without_ids_and_times(here) == without_ids_and_times(there)
    refusals = {type(answer) if not isinstance(answer, tuple) else answer[0] for answer in here}
    refused = {AlreadyExists, Invalid, NotDeleted, NotFound, ParentGone, StillReferenced}
    assert refused | {VersionConflict} <= refusals


async def test_the_same_row_is_equal_to_the_microsecond(twin: Twin, other_twin: Twin) -> None:
    expires = datetime(2027, 3, 4, 5, 6, 7, 891011, tzinfo=UTC)
    values = {
        "name": "k",
        "prefix": "p",
        "role": "viewer",
        "secret_hash": bytes(range(256)),
        "permissions": ["a:read", 'q"\\'],
        "expires_at": expires.astimezone(datetime.now().astimezone().tzinfo),
    }
    principal = someone()
    with acting_as(principal):
        async with twin.transaction():
            made = await twin.repository(ApiKeyRow, KeyRead).create(values)
            await twin.repository(ApiKeyRow, KeyRead).create({**values, "permissions": None})
        async with other_twin.transaction(read_only=True):
            found = await other_twin.repository(ApiKeyRow, KeyRead).get(made.id)
            nothing = await other_twin.repository(ApiKeyRow, KeyRead).list()

    assert found == made
    assert (found.secret_hash, found.permissions) == (bytes(range(256)), ["a:read", 'q"\\'])
    assert found.expires_at == expires
    assert found.expires_at.utcoffset() == timedelta()
    assert [row.permissions for row in nothing.items] == [None, ["a:read", 'q"\\']]


async def test_pages_of_one_go_on_where_the_other_stopped(twin: Twin, other_twin: Twin) -> None:
    with acting_as(someone()):
        async with twin.transaction():
            for number in range(5):
                await projects_of(twin).create({"name": f"p{number}"})
        seen: list[str] = []
        after = None
        for side in (twin, other_twin, twin):
            query = ListQuery(limit=2, after=after)
            async with side.transaction(read_only=True):
                page = await projects_of(side).list(query)
            seen += [row.name for row in page.items]
            after = page.next_after

    assert seen == ["p0", "p1", "p2", "p3", "p4"] or seen[::-1] == sorted(seen)
    assert len(set(seen)) == 5
    assert after is None


async def test_rows_of_another_tenant_are_absent(twin: Twin) -> None:
    projects, owner = projects_of(twin), someone()
    with acting_as(owner):
        async with twin.transaction():
            row = await projects.create({"name": "Secret"})
            assert (await projects.get(row.id)).name == "Secret"
    with acting_as(someone()):
        for call in (
            lambda: projects.get(row.id),
            lambda: projects.update(row.id, {"name": "Mine"}),
            lambda: projects.delete(row.id),
            lambda: projects.restore(row.id),
            lambda: projects.purge(row.id),
        ):
            async with twin.transaction():
                with pytest.raises(NotFound):
                    await call()
        async with twin.transaction() as work:
            assert (await projects.list()).items == []
            assert await projects.count() == 0
            assert await work.fetch("SELECT id FROM projects") == []


async def test_a_change_is_logged_with_actor_and_origin(twin: Twin) -> None:
    origin = RequestOrigin("request-7", "127.0.0.9")
    with acting_as(someone("import"), origin):
        async with twin.transaction():
            await projects_of(twin).create({"name": "Apollo"})
        async with twin.transaction(read_only=True):
            (entry,) = (await twin.repository(AuditLog, AuditEntry).list()).items

    logged = (entry.actor, entry.request_id, entry.ip, entry.action)
    assert logged == ("system:import", "request-7", "127.0.0.9", "insert")


async def test_begin_carries_the_tenant_and_the_mode(twin: Twin) -> None:
    principal = someone("mode")
    with acting_as(principal, RequestOrigin("r", "127.0.0.1")):
        async with twin.transaction() as work:
            written = await work.fetch(BOUND)
        async with twin.transaction(read_only=True) as work:
            read = await work.fetch(BOUND)

    tenant = str(principal.tenant_id)
    assert written == [(tenant, "system:mode", "r", "off")]
    assert [read[0][0], read[0][1] or "", read[0][3]] == [tenant, "", "on"]


async def test_unbound_is_refused_before_any_sql(twin: Twin) -> None:
    async with twin.transaction() as work:
        with pytest.raises(Unbound):
            await work.fetch("SELECT 1")
    with pytest.raises(Unbound):
        await projects_of(twin).get(uuid4())
    with acting_as(someone()), pytest.raises(Unbound):
        await projects_of(twin).get(uuid4())


async def test_statement_after_the_end_or_under_another_is_refused(twin: Twin) -> None:
    with acting_as(someone()):
        async with twin.unit_of_work() as work:
            assert await work.fetch("SELECT 1") == [(1,)]
            with acting_as(someone()), pytest.raises(Unbound, match="another principal"):
                await work.fetch("SELECT 1")
            assert await work.fetch("SELECT 1") == [(1,)]
            await work.commit()
            with pytest.raises(Unbound, match="ended"):
                await work.fetch("SELECT 1")


async def test_nested_transaction_is_refused(twin: Twin) -> None:
    with acting_as(someone()):
        async with twin.transaction():
            with pytest.raises(RuntimeError, match="open already"):
                async with twin.transaction():
                    pass


async def test_an_error_undoes_the_block_and_a_caught_one_is_no_commit(twin: Twin) -> None:
    projects = projects_of(twin)

    async def undone() -> None:
        async with twin.transaction():
            await projects.create({"name": "undone"})
            raise ZeroDivisionError

    async def caught() -> None:
        async with twin.transaction() as work:
            await projects.create({"name": "half"})
            with contextlib.suppress(Exception):
                await work.fetch("SELECT no_such_column")

    with acting_as(someone()):
        with pytest.raises(ZeroDivisionError):
            await undone()
        with pytest.raises(Unavailable):
            await caught()
        async with twin.transaction():
            assert await projects.count() == 0


async def test_a_lost_connection_is_refused_and_replaced(twin: Twin, library: Any) -> None:
    principal = someone()
    with acting_as(principal):
        for _ in range(3):
            with pytest.raises(Unavailable):
                async with twin.transaction() as work:
                    await work.fetch("SELECT pg_terminate_backend(pg_backend_pid())")
        async with twin.transaction() as work:
            pid = (await work.fetch("SELECT pg_backend_pid()"))[0][0]
        # Now it is lost while it lies in the pool.
        library.run(f"SELECT pg_terminate_backend({pid})")
        await asyncio.sleep(0.2)
        async with twin.transaction() as work:
            assert (await work.fetch(BOUND))[0][0] == str(principal.tenant_id)


async def test_nothing_is_left_on_a_connection(twin: Twin) -> None:
    with acting_as(someone("first"), RequestOrigin("r1", "127.0.0.1")):
        for _ in range(8):
            async with twin.transaction() as work:
                await work.fetch("SELECT 1")
    for _ in range(8):
        async with twin.platform_transaction() as work:
            assert [value or "" for value in (await work.fetch(BOUND))[0]] == ["", "", "", "off"]
    bound = someone()
    with acting_as(bound):
        async with twin.platform_transaction() as work:
            assert (await work.fetch(BOUND))[0][0] == str(bound.tenant_id)


async def test_a_pool_that_is_used_up_refuses_in_time(twin: Twin) -> None:
    with acting_as(someone()):
        async with twin.unit_of_work() as one, twin.unit_of_work() as two:
            await one.fetch("SELECT 1")
            await two.fetch("SELECT 1")
            async with twin.unit_of_work() as third:
                with pytest.raises(Unavailable):
                    await third.fetch("SELECT 1")


async def test_a_server_that_is_not_there_is_one_clear_error() -> None:
    nowhere = "postgresql://saas_app@127.0.0.1:1/saas"
    for name in ("async", "sync"):
        with pytest.raises(ConfigurationError, match="cannot connect"):
            async with Twin(name, (nowhere, nowhere)).opened():
                pass


async def test_the_platform_needs_an_address(twin: Twin, library: Any) -> None:
    lone = type(twin.database)(library.url("saas_app"))

    with pytest.raises(ConfigurationError, match="platform_url"):
        _ = lone.platform


@pytest.mark.parametrize("times", [12])
async def test_a_statement_that_runs_often_stays_right(twin: Twin, times: int) -> None:
    """psycopg prepares what it has seen a few times."""
    names = []
    with acting_as(someone()):
        for number in range(times):
            async with twin.transaction():
                row = await projects_of(twin).create({"name": f"p{number}"})
                await maybe(projects_of(twin).update(row.id, {"budget_cents": 10**number}))
                names.append((await projects_of(twin).get(row.id)).budget_cents)

    assert names == [10**number for number in range(times)]
