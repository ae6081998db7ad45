"""A migration: what arrives, what is told of the rest, and how it goes on after a crash."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import Engine

from migrations import USERS, USERS_MAP, Job, plans_of, rows_of, users
from saas.db.database import Database
from saas.errors import ConfigurationError
from saas.legacy.source import open_source

Legacy = Callable[..., Engine]

pytestmark = pytest.mark.usefixtures("acting")

JOBS = "CREATE TABLE jobs (code TEXT PRIMARY KEY, owner TEXT, what TEXT, state TEXT, due TEXT);"
JOBS_MAP = {
    "source": "jobs",
    "key": "code",
    "resource": "tasks",
    "columns": {
        "project_id": {"from": "owner", "strip": True, "lower": True, "lookup": "projects"},
        "title": "what",
        "status": {"from": "state", "values": {"O": "todo", "C": "done"}},
        "due_on": {"from": "due", "date": "%d.%m.%Y", "null": [""]},
        "priority": {"const": 1},
    },
}


@pytest.fixture
def migration(database: Database, tmp_path: Path) -> Callable[..., Job]:
    return lambda engine, *tables: Job(database, engine, tmp_path, *tables)


async def test_tables_arrive_with_their_references(
    legacy: Legacy, migration: Any, tenant: Any, other_tenant: Any
) -> None:
    await other_tenant.create("projects", name="user1")
    jobs = [(f"j{n}", f"USER{n % 3 + 1}", f"Job {n}", "OC"[n % 2], "24.12.2024") for n in range(10)]
    engine = legacy(USERS + JOBS, users=users(10), jobs=jobs)

    outcomes = await migration(engine, USERS_MAP, JOBS_MAP).run()

    assert [(o.in_source, o.state.read, o.state.inserted) for o in outcomes] == [(10, 10, 10)] * 2
    assert all(outcome.is_whole for outcome in outcomes)
    projects, tasks = await rows_of(tenant, "projects"), await rows_of(tenant, "tasks")
    assert {(p["name"], p["description"], p["is_active"]) for p in projects} == {
        (f"user{n}", f"Full {n}", True) for n in range(1, 11)
    }
    ids = {project["name"]: project["id"] for project in projects}
    assert {(t["title"], t["project_id"], t["status"], t["due_on"]) for t in tasks} == {
        (f"Job {n}", ids[f"user{n % 3 + 1}"], ["todo", "done"][n % 2], "2024-12-24")
        for n in range(10)
    }
    assert {row["created_by"] for row in (*projects, *tasks)} == {"system:migration"}
    assert len(await rows_of(other_tenant, "projects")) == 1


async def test_each_bad_row_is_told_once_and_the_others_arrive(
    legacy: Legacy, migration: Any, tenant: Any
) -> None:
    rows = [
        *users(6),
        (7, "x" * 121, None, "Y"),
        (8, "a", None, "Y"),
        (9, "USER2", None, "Y"),
        (10, None, None, "Y"),
        (11, "=maybe", None, "maybe"),
    ]
    jobs = [
        ("a", "nobody", "Lost", "O", ""),
        ("b", "user1", "Found", "O", ""),
        ("c", None, "x", "O", "1.1."),
    ]
    job = migration(legacy(USERS + JOBS, users=rows, jobs=jobs), USERS_MAP, JOBS_MAP)

    outcomes = await job.run(batch_rows=3)

    assert [
        (row["source"], row["key"], row["column"], row["value"], row["code"]) for row in job.bad()
    ] == [
        ("users", "7", "name", "x" * 121, "too_long"),
        ("users", "8", "name", "a", "too_short"),
        ("users", "9", "name", "user2", "taken"),
        ("users", "10", "name", "", "wrong_type"),
        ("users", "11", "is_active", "maybe", "unknown_value"),
        ("jobs", "a", "project_id", "nobody", "unknown_reference"),
        ("jobs", "c", "due_on", "1.1.", "invalid_format"),
    ]
    assert [(o.state.inserted, o.state.failed, o.is_whole) for o in outcomes] == [
        (6, 5, False),
        (1, 2, False),
    ]
    assert len(await rows_of(tenant, "projects")) == 6


async def test_what_came_later_is_copied_by_the_next_run(
    legacy: Legacy, migration: Any, tenant: Any
) -> None:
    engine = legacy(USERS, users=users(5))
    job = migration(engine, USERS_MAP)
    await job.run()
    with engine.begin() as source:
        source.exec_driver_sql("INSERT INTO users VALUES (6, 'six', NULL, 'Y')")

    (outcome,) = await job.run()

    assert (outcome.state.read, outcome.state.inserted, outcome.is_whole) == (6, 6, True)
    assert len(await rows_of(tenant, "projects")) == 6


async def test_rows_that_are_there_are_updated_or_skipped_as_the_map_says(
    legacy: Legacy, migration: Any, tenant: Any
) -> None:
    await tenant.create("projects", name="user1", description="Mine")
    await tenant.create("projects", name="user2", description="Full 2")
    engine = legacy(USERS, users=users(3))

    (skipping,) = await migration(engine, {**USERS_MAP, "on_conflict": "skip"}).run(is_dry=True)
    (updating,) = await migration(engine, {**USERS_MAP, "on_conflict": "update"}).run()

    counted = [(o.state.inserted, o.state.updated, o.state.skipped) for o in (skipping, updating)]
    assert counted == [(1, 0, 2), (1, 1, 1)]
    assert updating.is_whole
    described = {row["name"]: row["description"] for row in await rows_of(tenant, "projects")}
    assert described == {f"user{n}": f"Full {n}" for n in (1, 2, 3)}


async def test_dry_run_tells_all_and_leaves_nothing(
    legacy: Legacy, migration: Any, tenant: Any
) -> None:
    jobs = [("a", "user1", "Found", "O", ""), ("b", "nobody", "Lost", "O", "")]
    job = migration(legacy(USERS + JOBS, users=users(9), jobs=jobs), USERS_MAP, JOBS_MAP)

    tried = await job.run(is_dry=True)

    assert [(o.state.inserted, o.state.failed, o.in_tenant) for o in tried] == [
        (9, 0, 9),
        (1, 1, 1),
    ]
    assert [row["key"] for row in job.bad()] == ["b"]
    assert await rows_of(tenant, "projects") == []
    assert not job.checkpoint.exists()
    assert [o.state.inserted for o in await job.run()] == [9, 1]


async def test_source_may_be_postgresql(
    postgres: Any, database: Database, tmp_path: Path, tenant: Any
) -> None:
    superuser = postgres.dsn(postgres.superuser, "postgres")
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS old CASCADE")
        connection.execute("CREATE SCHEMA old")
        connection.execute(
            "CREATE TABLE old.things (id uuid PRIMARY KEY DEFAULT uuidv7(), name text, "
            "price numeric(10, 2), since timestamptz)"
        )
        connection.execute(
            "INSERT INTO old.things (name, price, since) SELECT 'thing ' || n, n + 0.25, "
            "CASE WHEN n = 3 THEN 'infinity' ELSE timestamptz '2024-01-31 10:00:00+00' END "
            "FROM generate_series(1, 9) AS n"
        )
    things = {
        "source": "things",
        "schema": "old",
        "key": "id",
        "resource": "projects",
        "columns": {
            "name": "name",
            "budget_cents": {"from": "price", "cents": True},
            "description": {"from": "since", "text": True},
        },
    }
    engine = open_source(superuser.replace("postgresql://", "postgresql+psycopg://", 1))
    job = Job(database, engine, tmp_path, things)
    try:
        await job.run(is_dry=True)
        (outcome,) = await job.run(batch_rows=2)
    finally:
        engine.dispose()

    # Python has no such time; the row is told with its key, and costs no other.
    (bad,) = job.bad()
    assert (bad["code"], UUID(bad["key"]).version) == ("unreadable", 7)
    assert (outcome.state.inserted, outcome.in_source) == (8, 9)
    rows = {(row["name"], row["budget_cents"]) for row in await rows_of(tenant, "projects")}
    assert rows == {(f"thing {n}", n * 100 + 25) for n in range(1, 10) if n != 3}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"resource": "planets"}, "no resource 'planets': projects, tasks"),
        (
            {"columns": {"name": "username", "size": "id"}},
            "projects takes no 'size'; it takes name",
        ),
        ({"columns": {"description": "full_name"}}, "projects needs 'name'"),
        ({"columns": {"name": "nickname"}}, "users has no column 'nickname'"),
        ({"columns": {"name": {"from": ["id", "username"]}}}, "column name: several columns need"),
        ({"columns": {"name": {"from": "id", "lookup": "planets"}}}, "no resource 'planets'"),
        ({"columns": {"name": {"from": "id", "lookup": "tasks"}}}, "natural key of one column"),
        ({"source": "people"}, "no table 'people'"),
        ({"key": "active"}, "active is no key of users"),
    ],
)
def test_map_that_cannot_be_followed_is_refused_by_its_place(
    legacy: Legacy, changes: dict[str, Any], words: str
) -> None:
    engine = legacy(USERS, users=users(3))
    assert plans_of(engine, USERS_MAP)

    with pytest.raises(ConfigurationError, match=words):
        plans_of(engine, USERS_MAP | changes)
