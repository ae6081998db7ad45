"""Walking a list page by page, compared with a list of plain Python."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import urlencode

import hypothesis
from hypothesis import strategies as st
from psycopg import sql
from uuid_utils.compat import uuid7

Row = dict[str, Any]
START = datetime(2026, 1, 31, 9, tzinfo=UTC)
SORTABLE = (
    "name",
    "description",
    "is_active",
    "budget_cents",
    "version",
    "created_at",
    "updated_by",
    "id",
)
# Few values each, so that ties and nulls are common.
TEXT = st.text("aAz%_Ü🚀", max_size=2)
TIMES = st.integers(0, 3).map(lambda number: START + timedelta(microseconds=number))
ROWS = st.fixed_dictionaries(
    {
        "name": TEXT,
        "description": st.none() | TEXT,
        "is_active": st.booleans(),
        "budget_cents": st.none() | st.sampled_from([-(2**63), -1, 0, 1, 2**63 - 1]),
        "version": st.integers(1, 3),
        "created_at": TIMES,
        "updated_at": TIMES,
        "created_by": st.just("system:test"),
        "updated_by": st.sampled_from(["system:test", "system:other"]),
        "deleted_at": st.none() | TIMES,
    }
)
SORTS = st.lists(st.sampled_from(SORTABLE), min_size=1, max_size=4, unique=True).flatmap(
    lambda names: st.tuples(*(st.sampled_from([name, f"-{name}"]) for name in names))
)
FILTERS: dict[tuple[str, str], Any] = {
    ("budget_cents__gte", "0"): lambda row: (
        row["budget_cents"] is not None and row["budget_cents"] >= 0
    ),
    ("is_active", "true"): lambda row: row["is_active"],
    ("description__isnull", "true"): lambda row: row["description"] is None,
    ("q", "a"): lambda row: "a" in f"{row['name']} {row['description']}".lower(),
}
DELETED: dict[str, Any] = {
    "exclude": lambda row: row["deleted_at"] is None,
    "include": lambda row: True,
    "only": lambda row: row["deleted_at"] is not None,
}
bounded = hypothesis.settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[
        hypothesis.HealthCheck.too_slow,
        hypothesis.HealthCheck.function_scoped_fixture,
    ],
)


class Listing(NamedTuple):
    """A list that a caller asks for."""

    sort: tuple[str, ...]
    filters: list[tuple[str, str]]
    deleted: str
    limit: int

    @property
    def query(self) -> list[tuple[str, str]]:
        asked = [("sort", ",".join(self.sort)), ("deleted", self.deleted)]
        return [*self.filters, *asked, ("limit", str(self.limit))]

    def of(self, rows: list[Row]) -> list[Row]:
        """The model: all rows of the list in their order, with nulls last both ways."""
        shown = [row for row in rows if DELETED[self.deleted](row)]
        shown = [row for row in shown if all(FILTERS[pair](row) for pair in self.filters)]
        keys = self.sort if {"id", "-id"} & {*self.sort} else (*self.sort, self._tiebreak)
        for key in reversed(keys):
            name = key.removeprefix("-")
            known = [row for row in shown if row[name] is not None]
            known.sort(key=lambda row, name=name: row[name], reverse=key.startswith("-"))
            shown = known + [row for row in shown if row[name] is None]
        return shown

    @property
    def _tiebreak(self) -> str:
        return "-id" if self.sort[-1].startswith("-") else "id"


LISTINGS = st.builds(
    Listing,
    SORTS,
    st.lists(st.sampled_from(list(FILTERS)), max_size=2, unique=True),
    st.sampled_from(list(DELETED)),
    st.integers(1, 7),
)


class Shelf:
    """The projects of one tenant, written past the API so that their times can be chosen."""

    def __init__(self, tenant, in_tenant):
        self.tenant, self._in_tenant = tenant, in_tenant
        self._numbers = itertools.count()
        self.rows: list[Row] = []

    def add(self, drafts: list[Row]) -> list[Row]:
        # The name is unique among live rows: a number keeps it so, and leaves the other ties.
        made = [
            {"id": str(uuid7()), **draft, "name": f"{draft['name']}{next(self._numbers)}"}
            for draft in drafts
        ]
        for row in made:
            columns = sql.SQL(", ").join(map(sql.Identifier, row))
            places = sql.SQL(", ").join([sql.Placeholder()] * (len(row) + 1))
            insert = sql.SQL("INSERT INTO projects (tenant_id, {}) VALUES ({})")
            statement = insert.format(columns, places)
            self._in_tenant(self.tenant, statement, self.tenant.tenant_id, *row.values())
        self.rows += made
        return made

    def remove(self, row: Row) -> None:
        self._in_tenant(self.tenant, "DELETE FROM projects WHERE id = %s", row["id"])
        self.rows.remove(row)

    async def page(self, listing: Listing, cursor: str | None) -> dict[str, Any]:
        query = [*listing.query, *([("cursor", cursor)] if cursor else [])]
        answer = await self.tenant.get(f"/v1/projects?{urlencode(query)}")
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        assert body["limit"] == listing.limit
        assert answer.links.keys() == {rel for rel in ("next", "prev") if body[f"{rel}_cursor"]}
        return body


def ids_of(rows: list[Row]) -> list[str]:
    return [row["id"] for row in rows]


@bounded
@hypothesis.given(drafts=st.lists(ROWS, max_size=20), listing=LISTINGS)
async def test_walk_by_cursors_gives_each_row_once_in_order(onboard, in_tenant, drafts, listing):
    shelf = Shelf(await onboard(), in_tenant)
    shelf.add(drafts)
    expected = ids_of(listing.of(shelf.rows))

    pages, cursor = [], None
    while (not pages or cursor) and len(pages) <= len(expected):
        body = await shelf.page(listing, cursor)
        pages.append(ids_of(body["items"]))
        cursor = body["next_cursor"]

    assert [id for page in pages for id in page] == expected
    assert all(len(page) == listing.limit for page in pages[:-1])
    assert len(pages[-1]) <= listing.limit
    assert pages[-1] or not expected


@bounded
@hypothesis.given(
    drafts=st.lists(ROWS, min_size=3, max_size=16),
    listing=LISTINGS,
    changes=st.lists(st.tuples(st.lists(ROWS, max_size=2), st.integers(0, 99)), max_size=6),
)
async def test_rows_that_come_and_go_between_pages_repeat_and_hide_no_other(
    onboard, in_tenant, drafts, listing, changes
):
    shelf = Shelf(await onboard(), in_tenant)
    survivors = shelf.add(drafts)
    seen: list[str] = []

    cursor, is_begun = None, False
    while (cursor or not is_begun) and len(seen) == len(set(seen)):
        body = await shelf.page(listing, cursor)
        seen += ids_of(body["items"])
        cursor, is_begun = body["next_cursor"], True
        if changes:
            arrivals, victim = changes.pop()
            shelf.add(arrivals)
            gone = shelf.rows[victim % len(shelf.rows)]
            shelf.remove(gone)
            survivors = [row for row in survivors if row is not gone]

    assert len(seen) == len(set(seen))
    expected = ids_of(listing.of(survivors))
    kept = {*expected}
    assert [id for id in seen if id in kept] == expected


@bounded
@hypothesis.given(drafts=st.lists(ROWS, max_size=12), listing=LISTINGS, offset=st.integers(0, 14))
async def test_page_by_offset_is_that_slice_with_the_total(
    onboard, in_tenant, drafts, listing, offset
):
    shelf = Shelf(await onboard(), in_tenant)
    shelf.add(drafts)
    expected = ids_of(listing.of(shelf.rows))
    query = urlencode([*listing.query, ("offset", str(offset))])

    body = (await shelf.tenant.get(f"/v1/projects?{query}")).json()

    assert ids_of(body["items"]) == expected[offset : offset + listing.limit]
    assert (body["offset"], body["limit"], body["total"]) == (offset, listing.limit, len(expected))
    has_more = offset + listing.limit < len(expected)
    assert (body["next_cursor"] is not None) == has_more
