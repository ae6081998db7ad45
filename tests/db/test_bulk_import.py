"""Rows from Python into a resource, in both twins."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from saas.context import acting_as
from saas.db import bulk_import as async_import
from saas.db.bulk_results import ImportResult
from saas.db.bulk_target import BulkTarget, bulk_target
from saas.db.sync import bulk_import as sync_import
from saas.db.where import where
from saas.errors import Invalid, Unbound
from saas.features.projects import Project, ProjectCreate, ProjectRead
from saas.features.tasks import TaskCreate
from twins import Twin, maybe, someone


async def imported(
    twin: Twin, target: Any, rows: Any, *, each_by_itself: bool = False, **options: Any
) -> ImportResult:
    run: Any = async_import.import_rows if twin.is_async else sync_import.import_rows
    if each_by_itself:
        done: ImportResult = await maybe(run(target, rows, database=twin.database, **options))
        return done
    async with twin.transaction():
        done = await maybe(run(target, rows, **options))
    return done


def into(repository: Any, create: Any, **options: Any) -> BulkTarget:
    return BulkTarget(repository.inner.operations, create, **options)


def counts(result: ImportResult) -> tuple[int, int, int, int]:
    return result.inserted, result.updated, result.skipped, result.failed


async def names_of(twin: Twin, projects: Any) -> list[str]:
    async with twin.transaction(read_only=True):
        return [row.name for row in (await projects.list(where(sort="name", limit=100))).items]


async def test_each_row_is_inserted_updated_skipped_or_tells_why_not(
    twin: Twin, projects: Any
) -> None:
    target = into(projects, ProjectCreate)
    rows: list[Any] = [
        {"name": "One", "budget_cents": 1},
        {"name": "T"},
        {"budget_cents": 1},
        {"name": "Two", "budget_cents": "12"},
        {"name": "Two", "nmae": 1},
        {"name": "N\0UL"},
        {"name": "Three", "id": "from an export", "version": 3},
        ProjectCreate(name="Four", is_active=False),
        {"name": "One"},
    ]

    done = await imported(twin, target, rows)

    assert counts(done) == (3, 0, 0, 6)
    assert done.rows_read == len(rows)
    told = [(e.line, e.column, e.value, e.code) for e in done.errors]
    assert told == [
        (2, "name", "T", "too_short"),
        (3, "name", None, "missing_field"),
        (4, "budget_cents", "12", "wrong_type"),
        (5, "nmae", "1", "unknown_field"),
        (6, "name", "N\ufffdUL", "invalid_text"),
        (9, "name", "One", "taken"),
    ]
    assert await names_of(twin, projects) == ["Four", "One", "Three"]


async def test_one_error_names_every_fault_of_its_row(twin: Twin, projects: Any) -> None:
    done = await imported(twin, into(projects, ProjectCreate), [{"name": 5, "is_active": "maybe"}])

    assert (done.failed, len(done.errors)) == (1, 1)
    assert done.errors[0].column == "name"
    assert "Also is_active: Expected `bool`" in done.errors[0].reason


async def test_the_same_rows_again_change_nothing(twin: Twin, projects: Any) -> None:
    target = into(projects, ProjectCreate)
    rows = [{"name": f"Project {n}", "budget_cents": n} for n in range(1_200)]
    assert counts(await imported(twin, target, rows, on_conflict="update")) == (1_200, 0, 0, 0)
    entries = "SELECT count(*) FROM audit_log"
    async with twin.transaction() as work:
        before = await work.fetch(entries)

    again = await imported(twin, target, rows, on_conflict="update")
    rows[7]["budget_cents"] = None
    changed = await imported(twin, target, rows, on_conflict="update")

    assert counts(again) == (0, 0, 1_200, 0)
    assert counts(changed) == (0, 1, 1_199, 0)
    async with twin.transaction() as work:
        assert await work.fetch(entries) == [(before[0][0] + 1,)]
        versions = "SELECT version, count(*) FROM projects GROUP BY version ORDER BY version"
        assert await work.fetch(versions) == [(1, 1_199), (2, 1)]


async def test_an_update_changes_the_given_columns_alone(twin: Twin, projects: Any) -> None:
    target = into(projects, ProjectCreate)
    await imported(twin, target, [{"name": "One", "budget_cents": 1, "is_active": False}])

    done = await imported(
        twin, target, [{"name": "One", "description": "New"}, {"name": "Two"}], on_conflict="update"
    )

    assert counts(done) == (1, 1, 0, 0)
    async with twin.transaction(read_only=True):
        one, two = (await projects.list(where(sort="name"))).items
    assert (one.description, one.budget_cents, one.is_active) == ("New", 1, False)
    assert (two.description, two.budget_cents, two.is_active) == (None, None, True)


@pytest.mark.parametrize(
    ("on_conflict", "expected", "cents"),
    [("update", (1, 2, 1, 0), 3), ("skip", (1, 0, 3, 0), 1), ("error", (1, 0, 0, 3), 1)],
)
async def test_rows_with_one_key_count_as_if_they_came_one_after_another(
    twin: Twin, projects: Any, on_conflict: str, expected: Any, cents: int
) -> None:
    rows = [{"name": "Same", "budget_cents": n} for n in (1, 2, 3, 3)]

    done = await imported(twin, into(projects, ProjectCreate), rows, on_conflict=on_conflict)

    assert counts(done) == expected
    async with twin.transaction(read_only=True):
        assert [r.budget_cents for r in (await projects.list()).items] == [cents]


@pytest.mark.parametrize("on_conflict", ["error", "skip"])
@pytest.mark.parametrize("is_typed", [True, False])
async def test_the_first_row_with_a_key_stays_whatever_columns_the_next_one_has(
    twin: Twin, projects: Any, on_conflict: str, is_typed: bool
) -> None:
    target = into(projects, ProjectCreate) if is_typed else projects.inner
    # The last row has the columns of the first one.
    rows = [{"name": "Other"}, {"name": "Same", "is_active": False}, {"name": "Same"}]

    done = await imported(twin, target, rows, on_conflict=on_conflict)

    assert done.inserted == 2
    assert [error.line for error in done.errors] == ([3] if on_conflict == "error" else [])
    async with twin.transaction(read_only=True):
        found = {row.name: row.is_active for row in (await projects.list()).items}
    assert found == {"Other": True, "Same": False}


async def test_a_reference_to_no_live_row_is_refused(twin: Twin, projects: Any, tasks: Any) -> None:
    async with twin.transaction():
        live = await projects.create({"name": "Live"})
        gone = await projects.create({"name": "Gone"})
        await projects.delete(gone.id)
    with acting_as(someone()):
        async with twin.transaction():
            foreign = await projects.create({"name": "Foreign"})
    parents = [live.id, gone.id, foreign.id, uuid4(), live.id]
    rows = [{"project_id": str(id), "title": f"Task {n}"} for n, id in enumerate(parents)]

    done = await imported(twin, into(tasks, TaskCreate), rows)

    assert counts(done) == (2, 0, 0, 3)
    assert [(e.line, e.column, e.code) for e in done.errors] == [
        (line, "project_id", "unknown_reference") for line in (2, 3, 4)
    ]
    assert {error.reason for error in done.errors} == {"There is no such row."}


async def test_a_row_without_its_key_cannot_be_skipped(twin: Twin, projects: Any) -> None:
    class Nameless(ProjectCreate):
        name: str | None = None

    rows = [{"description": "One"}, {"name": "Two"}]

    done = await imported(twin, into(projects, Nameless), rows, on_conflict="skip")

    assert counts(done) == (1, 0, 0, 1)
    assert (done.errors[0].column, done.errors[0].code) == ("name", "missing_field")


async def test_a_resource_without_a_key_only_inserts(twin: Twin) -> None:
    keyless = into(twin.repository(Project, ProjectRead), ProjectCreate)

    assert (await imported(twin, keyless, [{"name": "One"}])).inserted == 1
    again = await imported(twin, keyless, [{"name": "One"}, {"name": "Two"}])
    assert counts(again) == (1, 0, 0, 1)
    assert (again.errors[0].line, again.errors[0].code) == (1, "taken")
    with pytest.raises(Invalid):
        await imported(twin, keyless, [{"name": "One"}], on_conflict="update")


async def test_a_repository_alone_checks_by_its_columns(twin: Twin, tasks: Any) -> None:
    target = bulk_target(tasks.inner)
    rows = [{"project_id": "x", "title": "A"}, {"title": "B" * 201, "project_id": str(uuid4())}]

    done = await imported(twin, target, rows)

    assert [(error.column, error.code) for error in done.errors] == [
        ("project_id", "invalid_format"),
        ("title", "too_long"),
    ]


async def test_a_lax_target_takes_values_that_say_the_same(twin: Twin, projects: Any) -> None:
    rows = [{"name": "One", "budget_cents": "12", "is_active": 0}]

    done = await imported(twin, into(projects, ProjectCreate, is_lax=True), rows)

    assert done.inserted == 1
    async with twin.transaction(read_only=True):
        (row,) = (await projects.list()).items
    assert (row.budget_cents, row.is_active) == (12, False)


async def test_with_a_database_chunks_stay_that_came_before_a_failure(
    twin: Twin, projects: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (async_import, sync_import):
        monkeypatch.setattr(module, "CHUNK_ROWS", 2)
    seen: list[int] = []

    def rows() -> Any:
        yield from ({"name": f"Project {n}"} for n in range(5))
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        await imported(
            twin,
            into(projects, ProjectCreate),
            rows(),
            each_by_itself=True,
            on_progress=lambda result: seen.append(result.rows_read),
        )
    assert seen == [2, 4]
    assert len(await names_of(twin, projects)) == 4


async def test_rows_may_come_one_at_a_time(library: Any) -> None:
    async with Twin(
        "async", (library.url("saas_app"), library.url("saas_platform"))
    ).opened() as it:
        target = into(it.repository(Project, ProjectRead, natural_key=("name",)), ProjectCreate)

        async def rows() -> AsyncIterator[dict[str, Any]]:
            yield {"name": "One"}
            yield {"name": "Two"}

        with acting_as(someone()):
            assert (await imported(it, target, rows())).inserted == 2
        with pytest.raises(Unbound):
            await async_import.import_rows(target, [{"name": "One"}])
