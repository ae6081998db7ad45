"""Batches, and the past of a row, in both twins."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from saas.db.batch_items import BatchItem
from saas.db.where import where
from saas.errors import AlreadyExists, Invalid, NotFound
from twins import Twin


def item(kind: Any, id: Any = None, version: int | None = None, **values: Any) -> BatchItem:
    return BatchItem(kind=kind, id=id, version=version, values=values)


async def test_good_rows_stay_and_each_bad_one_says_why(twin: Twin, projects: Any) -> None:
    async with twin.transaction():
        one, two = await projects.create_many([{"name": "One"}, {"name": "Two"}])
    items = [
        item("create", name="Three"),
        item("create", name="One"),
        item("create", name="A" * 121),
        item("create", name="100 %s"),
        item("update", one.id, is_active=False),
        item("update", two.id, version=7, is_active=False),
        item("update", uuid4(), is_active=False),
        item("update", two.id, name="Three"),
        item("upsert", name="Two", budget_cents=2),
        item("upsert", name="Four", budget_cents=None),
        item("delete", one.id),
        item("restore", one.id),
        item("restore", one.id),
    ]

    async with twin.transaction():
        results = await projects.batch(items, is_atomic=False)

    assert [result.status for result in results] == [
        *("created", "failed", "failed", "created"),
        *("updated", "failed", "failed", "failed"),
        *("updated", "created", "deleted", "restored", "failed"),
    ]
    codes = {r.index: r.refusal.code for r in results if r.refusal}
    assert codes == {
        1: "already_exists",
        2: "invalid",
        5: "version_conflict",
        6: "not_found",
        7: "already_exists",
        12: "not_deleted",
    }
    async with twin.transaction(read_only=True):
        page = await projects.list(where(sort="name"))
    assert [row.name for row in page.items] == ["100 %s", "Four", "One", "Three", "Two"]


async def test_atomic_batch_raises_the_first_refusal_and_keeps_nothing(
    twin: Twin, projects: Any
) -> None:
    with pytest.raises(AlreadyExists) as refusal:
        async with twin.transaction():
            await projects.batch([item("create", name="One"), item("create", name="One")])
    assert [error.pointer for error in refusal.value.errors] == ["/items/1/data/name"]
    with pytest.raises(Invalid) as invalid:
        async with twin.transaction():
            await projects.create_many([{"name": "One"}, {"name": "A" * 121}])
    assert [error.pointer for error in invalid.value.errors] == ["/1"]

    async with twin.transaction(read_only=True):
        assert await projects.count() == 0


async def test_a_row_has_a_past_and_goes_back_to_it(twin: Twin, projects: Any) -> None:
    before = datetime.now(UTC)
    async with twin.transaction():
        row = await projects.create({"name": "Then", "budget_cents": 2**40})
    async with twin.transaction():
        await projects.update(row.id, {"name": "Now", "budget_cents": None})

    async with twin.transaction():
        with pytest.raises(NotFound):
            await projects.get_as_of(row.id, before)
        assert await projects.get_as_of(row.id, row.updated_at) == row
        changed, made = (await projects.history(row.id)).items
        back = await projects.revert(row.id, to=made.id)

    assert changed.changes["name"] == {"old": "Then", "new": "Now"}
    assert (back.name, back.budget_cents, back.version) == ("Then", 2**40, 3)


async def test_value_longer_than_its_column_is_compared_whole(twin: Twin, projects: Any) -> None:
    async with twin.transaction():
        await projects.create({"name": "N" * 120})

        assert await projects.count(where(name__in=["N" * 121])) == 0
        assert await projects.count(where(name__nin=["N" * 121])) == 1
        assert await projects.count(where(name__in=["N" * 120])) == 1


async def test_one_of_several_conditions_is_enough(twin: Twin, projects: Any) -> None:
    async with twin.transaction():
        rows = [{"name": "Red"}, {"name": "Blue", "budget_cents": 5}, {"name": "Green"}]
        await projects.create_many(rows)

        found = await projects.list(where(any_of={"name__startswith": "R", "budget_cents__gt": 1}))

    assert {row.name for row in found.items} == {"Red", "Blue"}
