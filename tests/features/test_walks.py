"""Walking a list forwards and backwards while rows come and go, compared with plain Python. Every
page is checked whole: its rows, and whether it has neighbours."""

import functools
import itertools
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import hypothesis
import pytest
from hypothesis import strategies as st
from uuid_utils.compat import uuid7

from saas.context import Principal, acting_as
from saas.db.database import Database
from saas.db.query import Condition, ListQuery, SortKey
from saas.db.transaction import Transaction
from saas.features.projects import projects

Row = dict[str, Any]
Position = tuple[Any, ...]
START = datetime(2026, 1, 31, 9, tzinfo=UTC)
COLUMNS = ("description", "is_active", "budget_cents", "created_at", "name")
# Few values each, so that ties and nulls are common.
DRAFTS = st.fixed_dictionaries(
    {
        "description": st.none() | st.sampled_from(["", "a", "Ü"]),
        "is_active": st.booleans(),
        "budget_cents": st.none() | st.integers(-1, 1),
        "created_at": st.integers(0, 2).map(lambda n: START + timedelta(microseconds=n)),
    }
)
SORTS = st.lists(
    st.builds(SortKey, st.sampled_from(COLUMNS), st.booleans()),
    min_size=1,
    max_size=4,
    unique_by=lambda key: key.column,
).flatmap(lambda keys: st.booleans().map(lambda down: (*keys, SortKey("id", down))))
GROUPS: dict[tuple[Condition, ...], Any] = {
    (): lambda row: True,
    (
        Condition("budget_cents", "gte", 0),
        Condition("description", "isnull", True),
    ): lambda row: row["budget_cents"] in {0, 1} or row["description"] is None,
    (
        Condition("is_active", "eq", True),
        Condition("budget_cents", "in", (1, -1)),
    ): lambda row: row["is_active"] or row["budget_cents"] in {1, -1},
}
QUERIES = st.builds(
    ListQuery,
    sort=SORTS,
    any_of=st.sampled_from(list(GROUPS)),
    limit=st.integers(1, 4),
    fields=st.sampled_from([(), ("id",), ("id", "name")]),
)
# A step to a neighbour, with the rows that have come by then and the one that has gone.
STEPS = st.tuples(
    st.sampled_from(["next_after", "prev_before"]),
    st.lists(DRAFTS, max_size=2),
    st.none() | st.integers(0, 99),
)


@pytest.fixture(scope="module")
async def database(settings: Any) -> Any:
    urls = str(settings.database_url), str(settings.platform_database_url)
    async with Database(*urls, size=1) as database:
        yield database


class Shelf:
    """The projects of one tenant, in a transaction that is never committed, and their model."""

    def __init__(self, work: Transaction, tenant_id: UUID) -> None:
        self._work, self._tenant_id = work, tenant_id
        self._numbers = itertools.count()
        self.rows: list[Row] = []

    async def add(self, drafts: list[Row]) -> None:
        for draft in drafts:
            row = {"id": uuid7(), "name": f"p{next(self._numbers) % 7}{uuid4()}", **draft}
            filled = {"tenant_id": self._tenant_id, "created_by": "x", "updated_by": "x", **row}
            places = ", ".join(f"${n}" for n in range(1, len(filled) + 1))
            insert = f"INSERT INTO projects ({', '.join(filled)}) VALUES ({places})"
            await self._work.fetch(insert, list(filled.values()))
            self.rows.append(row)

    async def remove(self, number: int) -> None:
        if self.rows:
            gone = self.rows.pop(number % len(self.rows))
            await self._work.fetch("DELETE FROM projects WHERE id = $1", [gone["id"]])

    def expected(self, query: ListQuery) -> tuple[list[UUID], bool, bool]:
        """The ids on the page, whether it has a next one, and whether it has one before it."""
        rows = [row for row in self.rows if GROUPS[query.any_of](row)]
        rows.sort(key=functools.cmp_to_key(lambda one, other: _order(query, one, other)))
        if query.before is not None:
            rows = [row for row in rows if not query.before or _at(query, row, query.before) < 0]
            page = rows[-query.limit :]
            return [row["id"] for row in page], query.before != (), len(rows) > query.limit
        rows = [row for row in rows if not query.after or _at(query, row, query.after) > 0]
        page = rows[: query.limit]
        return [row["id"] for row in page], len(rows) > query.limit, bool(query.after)


def _order(query: ListQuery, one: Row, other: Row) -> int:
    for column, descending in query.sort:
        left, right = one[column], other[column]
        if left != right:
            if left is None or right is None:
                return 1 if left is None else -1
            return 1 if (left < right) == descending else -1
    return 0


def _at(query: ListQuery, row: Row, position: Position) -> int:
    """Behind the position, at it, or before it: 1, 0 or -1."""
    columns = [key.column for key in query.sort]
    return _order(query, row, dict(zip(columns, position, strict=True)))


@hypothesis.settings(max_examples=30, deadline=None)
@hypothesis.given(
    drafts=st.lists(DRAFTS, max_size=10), query=QUERIES, steps=st.lists(STEPS, max_size=10)
)
async def test_every_page_of_a_walk_is_the_slice_beside_the_page_it_came_from(
    database: Database, drafts: list[Row], query: ListQuery, steps: list[Any]
) -> None:
    tenant_id = uuid4()
    with acting_as(Principal(tenant_id=tenant_id, actor="system:test")):
        async with Transaction(database.app) as work:
            shelf = Shelf(work, tenant_id)
            await shelf.add(drafts)
            page = await _checked_page(shelf, query)
            for side, arrivals, victim in steps:
                await shelf.add(arrivals)
                if victim is not None:
                    await shelf.remove(victim)
                position = getattr(page, side)
                if position is not None:
                    places = {"after": None, "before": None, side[5:]: position}
                    page = await _checked_page(shelf, _moved(query, **places))


async def test_last_page_is_asked_for_by_an_empty_position(database: Database) -> None:
    tenant_id = uuid4()
    with acting_as(Principal(tenant_id=tenant_id, actor="system:test")):
        async with Transaction(database.app) as work:
            shelf = Shelf(work, tenant_id)
            drafts = {"description": None, "is_active": True, "budget_cents": None}
            await shelf.add([drafts | {"created_at": START + timedelta(n)} for n in range(5)])

            page = await _checked_page(shelf, ListQuery(before=(), limit=2))

            assert [row.id for row in page.items] == [row["id"] for row in shelf.rows[1::-1]]
            assert page.next_after is None


async def test_two_positions_at_once_are_refused(database: Database) -> None:
    with acting_as(Principal(tenant_id=uuid4(), actor="system:test")):
        async with Transaction(database.app):
            with pytest.raises(ValueError, match="one of after, before and offset"):
                await projects.repository.list(ListQuery(before=(), offset=1))


async def _checked_page(shelf: Shelf, query: ListQuery) -> Any:
    page = await projects.repository.list(query)
    found = (
        [row.id for row in page.items],
        page.next_after is not None,
        page.prev_before is not None,
    )
    assert found == shelf.expected(query)
    assert await projects.repository.count(query) == sum(map(GROUPS[query.any_of], shelf.rows))
    return page


def _moved(query: ListQuery, *, after: Position | None, before: Position | None) -> ListQuery:
    return ListQuery(
        sort=query.sort,
        any_of=query.any_of,
        limit=query.limit,
        fields=query.fields,
        after=after,
        before=before,
    )
