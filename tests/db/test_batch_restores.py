"""Many deleted rows come back by one statement, and by the rules of one row."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from guarded import as_owner, create_guarded
from sqlalchemy.orm import Mapped

from saas.db.batch_items import BatchItem
from saas.db.models import TenantModel, reference, table_of
from saas.db.where import where
from saas.errors import NotDeleted
from saas.schema import metadata
from saas.web.schemas import Read
from twins import Twin


async def deleted(twin: Twin, repository: Any, rows: list[dict[str, Any]]) -> list[UUID]:
    async with twin.transaction():
        made = await repository.create_many(rows)
        for row in made:
            await repository.delete(row.id)
    return [row.id for row in made]


def restores(ids: list[UUID], version: int | None = None) -> list[BatchItem]:
    return [BatchItem(kind="restore", id=id, values={}, version=version) for id in ids]


async def outcomes(twin: Twin, repository: Any, items: list[BatchItem]) -> list[str]:
    async with twin.transaction():
        results = await repository.batch(items, is_atomic=False)
    return [result.refusal.code if result.refusal else result.status for result in results]


async def test_they_come_back_as_by_themselves(twin: Twin, projects: Any) -> None:
    ids = await deleted(twin, projects, [{"name": f"Row {n}"} for n in range(60)])

    assert await outcomes(twin, projects, restores(ids, version=2)) == ["restored"] * 60

    async with twin.transaction(read_only=True):
        page = await projects.list(where(sort="id", limit=100))
        entry = (await projects.history(ids[0])).items[0]
    assert [row.id for row in page.items] == sorted(ids)
    assert {(row.version, row.deleted_at, row.deleted_by) for row in page.items} == {
        (3, None, None)
    }
    assert (entry.action, entry.actor) == ("restore", page.items[0].updated_by)


async def test_each_that_stays_away_says_why(twin: Twin, projects: Any) -> None:
    ids = await deleted(twin, projects, [{"name": f"Row {n}"} for n in range(4)])
    async with twin.transaction():
        live = await projects.create({"name": "Live"})
        await projects.create({"name": "Row 1"})

    said = await outcomes(twin, projects, restores([*ids[:3], live.id, uuid4(), ids[0]]))
    others = await outcomes(twin, projects, restores([ids[3], ids[1]], version=1))

    assert said == [
        *("restored", "already_exists", "restored"),
        *("not_deleted", "not_found", "not_deleted"),
    ]
    assert others == ["version_conflict"] * 2


async def test_one_that_stays_away_keeps_all_of_an_atomic_batch_away(
    twin: Twin, projects: Any
) -> None:
    ids = await deleted(twin, projects, [{"name": f"Row {n}"} for n in range(3)])
    async with twin.transaction():
        live = await projects.create({"name": "Live"})

    with pytest.raises(NotDeleted) as refusal:
        async with twin.transaction():
            await projects.batch(restores([*ids, live.id]))

    assert [error.pointer for error in refusal.value.errors] == ["/items/3"]
    async with twin.transaction(read_only=True):
        assert await projects.count() == 1


async def test_children_wait_for_their_parent(twin: Twin, projects: Any, tasks: Any) -> None:
    parents = await deleted(twin, projects, [{"name": "Back"}, {"name": "Gone"}])
    async with twin.transaction():
        await projects.restore(parents[0])
        await projects.restore(parents[1])
    of = (*parents, *parents)
    rows = [{"project_id": id, "title": f"Task {number}"} for number, id in enumerate(of)]
    children = await deleted(twin, tasks, rows)
    async with twin.transaction():
        await projects.delete(parents[1])

    said = await outcomes(twin, tasks, restores(children))

    assert said == ["restored", "parent_gone", "restored", "parent_gone"]


# Each twin has its own; the other's is gone by then.
@pytest.mark.filterwarnings("ignore:This declarative base already contains")
async def test_rows_of_a_tree_come_back_in_the_order_of_the_batch(twin: Twin, library: Any) -> None:
    class TreeFolder(TenantModel):
        __tablename__ = "folders"

        parent_id: Mapped[UUID | None] = reference("folders", nullable=True)

    class TreeFolderRead(Read):
        parent_id: UUID | None

    table = table_of(TreeFolder)
    create_guarded(library, table)
    try:
        folders = twin.repository(TreeFolder, TreeFolderRead)
        ids: list[UUID] = []
        async with twin.transaction():
            for parent in (None, 0, 1):
                made = await folders.create({"parent_id": None if parent is None else ids[parent]})
                ids.append(made.id)
            for id in reversed(ids):
                await folders.delete(id)

        said = await outcomes(twin, folders, restores([ids[1], ids[0], ids[2]]))
        again = await outcomes(twin, folders, restores(ids[1:]))

        assert said == ["parent_gone", "restored", "parent_gone"]
        assert again == ["restored"] * 2
    finally:
        as_owner(library, "DROP TABLE folders")
        metadata.remove(table)
