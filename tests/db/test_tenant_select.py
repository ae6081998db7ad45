"""Free queries: whatever their shape, they read rows of the bound tenant alone."""

from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

import pytest
from sqlalchemy import (
    Column,
    Integer,
    MetaData,
    String,
    Table,
    Uuid,
    and_,
    column,
    delete,
    exists,
    func,
    insert,
    lateral,
    literal_column,
    or_,
    select,
    table,
    text,
    true,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import aliased

from saas.context import Principal, acting_as
from saas.db import tenant_select as async_select
from saas.db.models import table_of
from saas.db.sync import tenant_select as sync_select
from saas.db.tenant_select import tenant_select
from saas.errors import Unbound, Unscoped
from saas.features.projects import Project, ProjectRead
from saas.features.tasks import Task, TaskRead
from saas.tenancy.models import Member, Plan, Tenant
from twins import Twin, maybe, someone

Child = aliased(Task)
projects, tasks = table_of(Project), table_of(Task)
some = projects.alias("some")
recent = select(Project).cte("recent")
per_project = (
    select(Task.project_id, func.count().label("number")).group_by(Task.project_id).subquery()
)
newest = lateral(
    select(Task.title).where(Task.project_id == Project.id).order_by(Task.title.desc()).limit(1)
)
tree = select(Project.id, Project.name).where(Project.name == "one").cte(recursive=True)
tree = tree.union_all(select(Project.id, Project.name).join(tree, Project.name > tree.c.name))

# Each of them counts or shows foreign rows where the predicate of one of its tables is missing.
SHAPES: dict[str, Any] = {
    "columns": tenant_select(Project.name),
    "a model": tenant_select(Project),
    "a table": tenant_select(projects.c.name, projects.c.id),
    "an alias of a model": tenant_select(Child.title),
    "an alias of a table": tenant_select(some.c.name),
    "an aggregate": tenant_select(func.count()).select_from(Project),
    "a group": tenant_select(Project.name, func.sum(Project.budget_cents)).group_by(Project.name),
    "a join": tenant_select(Project.name, Task.title).join(Task, Task.project_id == Project.id),
    "a join without a condition": tenant_select(Project.name, Task.title).join(Task, true()),
    "a join made later": tenant_select(Project.name).join(Child, true()).join(some, true()),
    "an outer join": tenant_select(Project.name, Task.title).outerjoin(
        Task, and_(Task.project_id == Project.id, Task.title == "first")
    ),
    "an outer join on anything": tenant_select(Project.name, Child.title).outerjoin(Child, true()),
    "a full join": tenant_select(Project.name, Task.title).join(
        Task, Task.title == Project.name, full=True
    ),
    "a cross product": tenant_select(func.count()).select_from(projects, tasks).where(true()),
    "a join of tables": tenant_select(func.count()).select_from(
        projects.join(tasks, true()).outerjoin(some, true())
    ),
    "a subquery in FROM": tenant_select(per_project),
    "a join with a subquery": tenant_select(Project.name, per_project.c.number).outerjoin(
        per_project, true()
    ),
    "a scalar subquery": tenant_select(
        Project.name, select(func.count()).select_from(Task).scalar_subquery().label("n")
    ),
    "EXISTS": tenant_select(Project.name, exists().where(Task.title == "only theirs").label("e")),
    "IN": tenant_select(Project.name).where(Project.id.in_(select(Task.project_id))),
    "IN a list": tenant_select(Project.name).where(Project.name.in_(["one", "theirs"])),
    "OR": tenant_select(Project.name).where(or_(Project.name == "one", true())),
    "a CTE": tenant_select(func.count()).select_from(recent),
    "a recursive CTE": tenant_select(func.count()).select_from(tree),
    "LATERAL": tenant_select(Project.name, newest.c.title).join(newest, true()),
    "a union": union_all(tenant_select(Project.name), tenant_select(Task.title)),
    "a window": tenant_select(Project.name, func.count().over()),
    "a plain select": select(Project.name, Task.title).join(Task, true()),
    "FOR UPDATE": tenant_select(Project.name).with_for_update(of=Project),
    "DISTINCT ON": tenant_select(Project.name).ext(distinct_on(Project.name)),
}


class World(NamedTuple):
    """A tenant whose answers are known, and two readers of them."""

    principal: Principal
    fetch: Callable[[Any], Any]
    twin: Twin


async def fill(twin: Twin, *names: str) -> None:
    """Projects with two tasks each, one of them deleted, and a project that is deleted."""
    project_rows = twin.repository(Project, ProjectRead)
    task_rows = twin.repository(Task, TaskRead)
    async with twin.transaction():
        for name in names:
            project = await project_rows.create({"name": name, "budget_cents": 100})
            for title in ("first", f"only {name}"):
                await task_rows.create({"project_id": project.id, "title": title})
            gone = await task_rows.create({"project_id": project.id, "title": "gone"})
            await task_rows.delete(gone.id)
        gone = await project_rows.create({"name": "gone", "budget_cents": 7})
        await project_rows.delete(gone.id)


@pytest.fixture(scope="module", params=["async", "sync"])
async def twin(request: pytest.FixtureRequest, library: Any) -> AsyncIterator[Twin]:
    urls = library.url("saas_app"), library.url("saas_platform")
    async with Twin(request.param, urls).opened() as twin:
        yield twin


@pytest.fixture
async def world(twin: Twin) -> AsyncIterator[World]:
    fetch_all = (async_select if twin.is_async else sync_select).fetch_all

    async def fetch(statement: Any) -> list[tuple[Any, ...]]:
        async with twin.transaction():
            return sorted(map(tuple, await maybe(fetch_all(statement))), key=str)

    principal = someone()
    with acting_as(principal):
        await fill(twin, "one", "two")
        yield World(principal, fetch, twin)


@pytest.mark.parametrize("shape", SHAPES)
async def test_another_tenants_rows_change_no_answer(shape: str, world: World) -> None:
    before = await world.fetch(SHAPES[shape])
    with acting_as(someone()):
        await fill(world.twin, "one", "theirs", "three")
        assert await world.fetch(SHAPES[shape])

    assert await world.fetch(SHAPES[shape]) == before
    assert before
    assert "theirs" not in repr(before)


def without_row_security(library: Any, statement: Any, principal: Principal) -> list[Any]:
    """The rows that the first lock alone leaves, as the superuser, whom no policy binds."""
    with acting_as(principal):
        compiled = async_select._FreeStatement(statement).named
        values = compiled.arguments({"bound_tenant": principal.tenant_id})
        with library.connect() as connection:
            return sorted(connection.execute(compiled.sql, values).fetchall(), key=str)


@pytest.mark.parametrize("shape", SHAPES)
async def test_the_first_lock_holds_alone(shape: str, world: World, library: Any) -> None:
    with acting_as(someone()):
        await fill(world.twin, "one", "theirs")

    bound = await world.fetch(SHAPES[shape])

    assert without_row_security(library, SHAPES[shape], world.principal) == bound


async def test_deleted_rows_are_read_where_it_is_said(world: World) -> None:
    gone = select(Task.title).where(Task.title == "gone")
    names = tenant_select(Project.name, gone.exists().label("has_gone"))
    with_deleted = tenant_select(Project.name, gone.exists().label("has_gone"), deleted="include")

    assert await world.fetch(names) == [("one", False), ("two", False)]
    assert await world.fetch(with_deleted) == [("gone", True), ("one", True), ("two", True)]
    assert await world.fetch(tenant_select(Project.name, deleted="only")) == [("gone",)]
    own = tenant_select(func.count()).select_from(tenant_select(Task.id, deleted="only").subquery())
    assert await world.fetch(own) == [(2,)]


async def test_an_outer_join_keeps_the_rows_without_a_partner(world: World) -> None:
    joined = tenant_select(Project.name, Task.title).outerjoin(
        Task, and_(Task.project_id == Project.id, Task.title == "only two")
    )

    assert await world.fetch(joined) == [("one", None), ("two", "only two")]


async def test_rows_have_the_names_of_their_columns(world: World) -> None:
    total = tenant_select(Project.name, func.sum(Project.budget_cents).label("total"))
    module = async_select if world.twin.is_async else sync_select
    async with world.twin.transaction():
        rows = await maybe(module.fetch_all(total.group_by(Project.name).order_by(Project.name)))

    assert [(row.name, row.total) for row in rows] == [("one", 100), ("two", 100)]


unknown = Table("projects", MetaData(), Column("id", Uuid), Column("name", String))
REFUSED: dict[str, Any] = {
    "a control table": tenant_select(Tenant.slug),
    "a control table without a tenant": tenant_select(Plan.slug),
    "a control table that is joined": tenant_select(Project.name).join(Tenant, true()),
    "a control table in a subquery": tenant_select(
        Project.name, select(func.count()).select_from(Tenant).scalar_subquery()
    ),
    "text": text("SELECT name FROM projects"),
    "text in FROM": select(literal_column("1")).select_from(text("projects")),
    "text in WHERE": tenant_select(Project.name).where(text("true")),
    "text as a select": select(text("SELECT 1").columns(column("a", Integer)).subquery()),
    "a column of text": tenant_select(literal_column("(SELECT max(name) FROM projects)")),
    "a table by name": tenant_select(table("projects", column("name")).c.name),
    "a table that nobody declared": tenant_select(unknown.c.name),
    "an update": update(Project).values(name="x"),
    "a delete": delete(Project),
    "an insert": insert(Project).values(name="x"),
    "a change in a CTE": tenant_select(delete(Project).returning(Project.id).cte("gone").c.id),
}


@pytest.mark.parametrize("shape", REFUSED)
async def test_what_cannot_be_held_to_the_tenant_is_refused(shape: str, world: World) -> None:
    with pytest.raises(Unscoped):
        await world.fetch(REFUSED[shape])

    assert await world.fetch(tenant_select(func.count()).select_from(Project)) == [(2,)]


async def test_without_a_tenant_nothing_is_compiled(world: World) -> None:
    fetch_all = async_select.fetch_all if world.twin.is_async else sync_select.fetch_all
    with acting_as(None), pytest.raises(Unbound):  # type: ignore[arg-type]
        async with world.twin.transaction():
            await maybe(fetch_all(tenant_select(Member.name)))
    with pytest.raises(Unbound, match="transaction"):
        await maybe(fetch_all(tenant_select(Member.name)))


async def test_the_plan_is_that_of_a_predicate_written_by_hand(library: Any) -> None:
    principal = someone()
    with acting_as(principal):
        compiled = async_select._FreeStatement(tenant_select(Project.name)).named
        values = compiled.arguments({"bound_tenant": principal.tenant_id})
    by_hand = "SELECT name FROM projects WHERE tenant_id = %(bound_tenant)s AND deleted_at IS NULL"

    with library.connect() as connection:
        plans = [
            connection.execute(f"EXPLAIN (COSTS OFF) {sql}", values).fetchall()
            for sql in (compiled.sql, by_hand)
        ]

    assert plans[0] == plans[1]
