"""What a program gets wrong is refused by both twins alike, and stores nothing."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, date, datetime
from typing import Any
from uuid import uuid4

import pytest

from saas.context import acting_as
from saas.db.batch_items import BatchItem
from saas.db.models import add_natural_key
from saas.db.roles import APP, PLATFORM
from saas.db.where import where
from saas.errors import AlreadyExists, Invalid, TransactionFailed
from saas.features.projects import Project, ProjectRead
from twins import Twin, someone


@pytest.fixture(scope="module", params=["async", "sync"])
async def opened(request: pytest.FixtureRequest, library: Any) -> AsyncIterator[Twin]:
    async with Twin(request.param, (library.url(APP), library.url(PLATFORM))).opened() as twin:
        yield twin


@pytest.fixture
def twin(opened: Twin) -> Iterator[Twin]:
    with acting_as(someone()):
        yield opened


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("budget_cents", 5.9, "Expected `int`, got `float`."),
        ("budget_cents", True, "Expected `int`, got `bool`."),
        ("budget_cents", "12", "Expected `int`, got `str`."),
        ("is_active", 1, "Expected `bool`, got `int`."),
        ("description", 7, "Expected `str`, got `int`."),
        ("name", b"Raw", "Expected `str`, got `bytes`."),
    ],
)
async def test_value_of_another_type_is_refused_by_its_column(
    twin: Twin, projects: Any, field: str, value: Any, message: str
) -> None:
    async with twin.transaction():
        row = await projects.create({"name": "Kept"})
        good, bad = {"name": "Good"}, {"name": "Bad", field: value}

        with pytest.raises(Invalid) as created:
            await projects.create(bad)
        with pytest.raises(Invalid) as updated:
            await projects.update(row.id, {field: value})
        batched = await projects.batch(
            [BatchItem(kind="create", values=values) for values in (good, bad)], is_atomic=False
        )
        names = [row.name for row in (await projects.list(where(sort="name"))).items]

    for refusal in (created.value, updated.value, batched[1].refusal):
        (fault,) = refusal.errors
        assert (fault.code, fault.message) == ("wrong_type", message)
        assert fault.pointer.endswith(f"/{field}")
    assert names == ["Good", "Kept"]


@pytest.mark.parametrize(
    "day", [datetime(2027, 1, 1, tzinfo=UTC), "2027-01-01"], ids=["time", "text"]
)
async def test_a_day_is_a_date(twin: Twin, projects: Any, tasks: Any, day: Any) -> None:
    async with twin.transaction():
        project = await projects.create({"name": "Home"})
        values = {"project_id": project.id, "title": "Paint"}

        with pytest.raises(Invalid, match="content"):
            await tasks.create({**values, "due_on": day})
        kept = await tasks.create({**values, "due_on": date(2027, 1, 1)})

    assert kept.due_on == date(2027, 1, 1)


async def test_an_id_may_be_written_out(twin: Twin, projects: Any, tasks: Any) -> None:
    async with twin.transaction():
        project = await projects.create({"name": "Home"})
        task = await tasks.create({"project_id": str(project.id), "title": "Paint"})

    assert task.project_id == project.id


@pytest.mark.parametrize(
    ("kind", "on_conflict"), [("insert", "update"), ("upsert", "nothing"), ("", "skip")]
)
async def test_what_is_no_kind_of_change_changes_nothing(
    twin: Twin, projects: Any, kind: Any, on_conflict: Any
) -> None:
    async with twin.transaction():
        await projects.create({"name": "There", "budget_cents": 1})
        item = BatchItem(kind=kind, values={"name": "There", "budget_cents": 2})

        with pytest.raises(ValueError, match="it is one of"):
            await projects.batch([item], on_conflict=on_conflict)
        (row,) = (await projects.list()).items

    assert (row.budget_cents, row.version) == (1, 1)


async def test_who_goes_on_after_a_refusal_is_told_that_the_transaction_is_over(
    twin: Twin, projects: Any
) -> None:
    async with twin.transaction():
        await projects.create({"name": "Taken"})

    async def caught() -> None:
        async with twin.transaction():
            with pytest.raises(AlreadyExists):
                await projects.create({"name": "Taken"})
            await projects.create({"name": "Next"})

    with pytest.raises(TransactionFailed, match="only be rolled back"):
        await caught()

    async with twin.transaction(read_only=True):
        assert [row.name for row in (await projects.list()).items] == ["Taken"]


@pytest.mark.parametrize("batch", [0, -1])
async def test_stream_of_no_rows_at_a_time_is_refused(
    twin: Twin, projects: Any, batch: int
) -> None:
    async with twin.transaction(read_only=True):
        with pytest.raises(ValueError, match="at least one row"):
            await anext(projects.stream(batch=batch))


async def test_sort_and_fields_are_texts_or_tuples(twin: Twin, projects: Any) -> None:
    async with twin.transaction():
        for name, budget in (("B", 1), ("A", 1), ("C", 0)):
            await projects.create({"name": name * 2, "budget_cents": budget})

        page = await projects.list(where(sort=("-budget_cents", "name"), fields=["id", "name"]))

    assert [row.name for row in page.items] == ["AA", "BB", "CC"]
    assert page.items[0].__struct_fields__ == ("id", "name")


def test_natural_key_and_search_name_columns(twin: Twin) -> None:
    for key in (("nmae",), "name"):
        with pytest.raises(TypeError, match="is no tuple of its columns"):
            add_natural_key(Project, key)  # type: ignore[arg-type]  # what is refused
    for search in (("nmae",), ("budget_cents",), "name"):
        with pytest.raises(TypeError, match="is no tuple of its text columns"):
            twin.repository(Project, ProjectRead, search=search)


async def test_a_query_is_made_by_where(twin: Twin, projects: Any) -> None:
    async with twin.transaction(read_only=True):
        with pytest.raises(TypeError, match=r"made by where\(…\), not a dict"):
            await projects.list({"id": uuid4()})
