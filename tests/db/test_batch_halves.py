"""Where one statement for many rows fails, smaller ones find exactly the bad rows."""

from typing import Any
from uuid import UUID

import pytest

from saas.db.batch_items import BatchItem
from saas.db.where import where
from saas.errors import AlreadyExists
from twins import Twin

ROWS = 45
BAD = [{0}, {ROWS - 1}, {7}, {22, 23}, {0, 11, 22, 33, 44}, set(range(5, 20)), set(range(ROWS))]


@pytest.fixture
async def ids(twin: Twin, projects: Any) -> list[UUID]:
    async with twin.transaction():
        await projects.create({"name": "Taken"})
        made = await projects.create_many([{"name": f"Row {n}"} for n in range(ROWS)])
    return [row.id for row in made]


def renamed(ids: list[UUID], bad: set[int]) -> list[BatchItem]:
    names = ["Taken" if n in bad else f"New {n}" for n in range(ROWS)]
    return [
        BatchItem(kind="update", id=id, values={"name": name})
        for id, name in zip(ids, names, strict=True)
    ]


async def names(twin: Twin, projects: Any) -> set[str]:
    async with twin.transaction(read_only=True):
        page = await projects.list(where(limit=100))
    return {row.name for row in page.items} - {"Taken"}


@pytest.mark.parametrize("bad", BAD, ids=str)
async def test_partial_batch_tells_them_and_keeps_the_others(
    twin: Twin, projects: Any, ids: list[UUID], bad: set[int]
) -> None:
    async with twin.transaction():
        results = await projects.batch(renamed(ids, bad), is_atomic=False)

    assert [result.index for result in results] == list(range(ROWS))
    failed = {result.index: result.refusal for result in results if result.refusal}
    assert failed.keys() == bad
    for index, refusal in failed.items():
        assert isinstance(refusal, AlreadyExists)
        assert [error.pointer for error in refusal.errors] == [f"/items/{index}/data/name"]
    kept = {f"Row {n}" if n in bad else f"New {n}" for n in range(ROWS)}
    assert await names(twin, projects) == kept


@pytest.mark.parametrize("bad", BAD, ids=str)
async def test_atomic_batch_tells_the_first_and_keeps_none(
    twin: Twin, projects: Any, ids: list[UUID], bad: set[int]
) -> None:
    with pytest.raises(AlreadyExists) as refusal:
        async with twin.transaction():
            await projects.batch(renamed(ids, bad))

    assert [error.pointer for error in refusal.value.errors] == [f"/items/{min(bad)}/data/name"]
    assert await names(twin, projects) == {f"Row {n}" for n in range(ROWS)}
