"""Page links, totals and cursors: what they hold to, and that no other cursor is taken."""

import pytest
from refusals import assert_refused


@pytest.fixture
async def shelf(tenant):
    """A tenant with five projects, `p0` the oldest."""
    for number in range(5):
        await tenant.create("projects", name=f"p{number}", budget_cents=number % 2)
    return tenant


def names(answer):
    assert answer.status_code == 200, answer.text
    return [row["name"] for row in answer.json()["items"]]


async def walked(caller, path, rel="next", most_pages=9):
    """The names on all pages from `path` on, by the links; fails where they lead in a circle."""
    answer = await caller.get(path)
    pages = [names(answer)]
    while rel in answer.links:
        assert len(pages) < most_pages, f"more than {most_pages} pages: {pages}"
        answer = await caller.get(answer.links[rel]["url"])
        pages.append(names(answer))
    return [name for page in (pages if rel == "next" else pages[::-1]) for name in page]


async def test_list_is_newest_first_and_twenty_long_by_default(tenant):
    for number in range(21):
        await tenant.create("projects", name=f"p{number}")

    first = await tenant.get("/v1/projects")
    second = await tenant.get(first.links["next"]["url"])

    assert names(first) == [f"p{number}" for number in range(20, 0, -1)]
    assert first.json().keys() == {"items", "limit", "next_cursor", "prev_cursor"}
    assert first.json()["limit"] == 20
    assert names(second) == ["p0"]
    assert second.json()["next_cursor"] is None


async def test_empty_list_has_no_next_page(tenant):
    answer = await tenant.get("/v1/projects?include_total=true")

    page = {"items": [], "limit": 20, "next_cursor": None, "prev_cursor": None}
    assert answer.json() == page | {"total": 0}
    assert "link" not in answer.headers


@pytest.mark.parametrize(
    "query",
    ["limit=2", "limit=2&sort=-name&q=p", "offset=0&limit=2", "limit=1&budget_cents__in=0,1"],
)
async def test_next_links_lead_through_the_whole_list(shelf, query):
    found = await walked(shelf, f"/v1/projects?{query}")

    assert found == ["p4", "p3", "p2", "p1", "p0"]


async def test_total_comes_only_when_asked_for_and_counts_every_page(shelf):
    plain = (await shelf.get("/v1/projects?limit=2")).json()
    first = (await shelf.get("/v1/projects?limit=2&budget_cents=0&include_total=true")).json()
    by_offset = (await shelf.get("/v1/projects?limit=2&offset=4")).json()
    behind = (await shelf.get("/v1/projects?limit=2&offset=9")).json()

    assert "total" not in plain
    assert first["total"] == 3
    assert "offset" not in first
    assert (by_offset["total"], by_offset["offset"], len(by_offset["items"])) == (5, 4, 1)
    assert (behind["total"], behind["items"], behind["next_cursor"]) == (5, [], None)


async def test_later_cursor_page_tells_the_same_total(shelf):
    query = {"limit": 2, "include_total": "true"}
    first = (await shelf.get("/v1/projects", params=query)).json()

    second = await shelf.get("/v1/projects", params=query | {"cursor": first["next_cursor"]})

    assert (first["total"], second.json()["total"]) == (5, 5)


async def test_limit_may_change_between_pages(shelf):
    first = (await shelf.get("/v1/projects?limit=2")).json()

    rest = await shelf.get("/v1/projects", params={"limit": 100, "cursor": first["next_cursor"]})

    assert names(rest) == ["p2", "p1", "p0"]


@pytest.mark.parametrize(
    "other",
    [
        {"budget_cents": 0},
        {"name__ne": "x"},
        {"sort": "created_at"},
        {"sort": "-name"},
        {"sort": "-created_at,name"},
        {"deleted": "include"},
        {"q": "p"},
    ],
)
async def test_cursor_of_another_filter_or_sort_is_refused(shelf, other):
    cursor = (await shelf.get("/v1/projects?limit=2")).json()["next_cursor"]
    others = (await shelf.get("/v1/projects?limit=1", params={"limit": 1} | other)).json()

    assert names(await shelf.get("/v1/projects", params={"limit": 2, "cursor": cursor}))
    for refused in (
        await shelf.get("/v1/projects", params=other | {"cursor": cursor}),
        await shelf.get("/v1/projects", params={"cursor": others["next_cursor"]}),
    ):
        assert_refused(refused, 400, "bad_request", {"/cursor": "bad_parameter"})


async def test_cursor_holds_for_the_same_filters_in_another_order(shelf):
    filters = ["is_active=true", "budget_cents__gte=0", "or=(name.eq.p4,name.startswith.p)", "q=p"]
    first = await shelf.get(f"/v1/projects?limit=2&{'&'.join(filters)}")
    turned = [*filters[::-1], "limit=2", f"cursor={first.json()['next_cursor']}"]

    second = await shelf.get(f"/v1/projects?{'&'.join(turned)}")

    assert names(first) + names(second) == ["p4", "p3", "p2", "p1"]


async def test_cursor_of_another_value_or_resource_is_refused(shelf):
    (project, *_) = (await shelf.get("/v1/projects")).json()["items"]
    for title in "ab":
        await shelf.create("tasks", project_id=project["id"], title=title)
    query = {"limit": 1, "budget_cents": 0}
    cursor = (await shelf.get("/v1/projects", params=query)).json()["next_cursor"]

    assert names(await shelf.get("/v1/projects", params=query | {"cursor": cursor})) == ["p2"]
    of_tasks = (await shelf.get("/v1/tasks?limit=1")).json()["next_cursor"]
    of_audit = (await shelf.get("/v1/audit?limit=1")).json()["next_cursor"]
    for refused in (
        await shelf.get("/v1/projects", params=query | {"budget_cents": 1, "cursor": cursor}),
        await shelf.get("/v1/projects", params={"limit": 1, "cursor": of_tasks}),
        await shelf.get("/v1/tasks", params={"limit": 1, "cursor": of_audit}),
    ):
        assert_refused(refused, 400, "bad_request", {"/cursor": "bad_parameter"})


async def test_cursor_of_another_tenant_is_refused(shelf, other_tenant):
    for name in ("a1", "a2"):
        await other_tenant.create("projects", name=name)
    cursor = (await shelf.get("/v1/projects?limit=1")).json()["next_cursor"]

    refused = await other_tenant.get("/v1/projects", params={"limit": 1, "cursor": cursor})

    assert_refused(refused, 400, "bad_request", {"/cursor": "bad_parameter"})


async def test_tampered_cursor_is_refused(shelf):
    cursor = (await shelf.get("/v1/projects?limit=1")).json()["next_cursor"]
    # The last character may carry bits that encode nothing, so it is left alone.
    changed = [
        cursor[:place] + ("A" if cursor[place] != "A" else "B") + cursor[place + 1 :]
        for place in range(0, len(cursor) - 1, 3)
    ]

    for text in [
        "",
        "x",
        "é",
        "\0",
        cursor[1:],
        cursor[:-1],
        cursor + "AAAA",
        cursor * 2,
        *changed,
    ]:
        refused = await shelf.get("/v1/projects", params={"limit": 1, "cursor": text})
        assert_refused(refused, 400, "bad_request", {"/cursor": "bad_parameter"})


async def test_cursor_is_given_once_and_without_offset(shelf):
    cursor = (await shelf.get("/v1/projects?limit=1")).json()["next_cursor"]

    for query in (f"cursor={cursor}&cursor={cursor}", f"cursor={cursor}&offset=1"):
        refused = await shelf.get(f"/v1/projects?limit=1&{query}")
        assert_refused(refused, 400, "bad_request", {"/cursor": "bad_parameter"})


async def test_cursor_holds_after_its_own_row_is_gone(shelf):
    first = (await shelf.get("/v1/projects?limit=2")).json()
    await shelf.delete(f"/v1/projects/{first['items'][-1]['id']}?hard=true")

    rest = await shelf.get("/v1/projects", params={"limit": 2, "cursor": first["next_cursor"]})

    assert names(rest) == ["p2", "p1"]


async def test_cursor_page_by_a_nullable_column_goes_on_behind_nulls(tenant):
    for number, budget in enumerate([None, 2, None, 1]):
        await tenant.create("projects", name=f"p{number}", budget_cents=budget)

    for sort, expected in (
        ("budget_cents,name", ["p3", "p1", "p0", "p2"]),
        ("-budget_cents,name", ["p1", "p3", "p0", "p2"]),
        ("-budget_cents,-name", ["p1", "p3", "p2", "p0"]),
    ):
        assert await walked(tenant, f"/v1/projects?limit=1&sort={sort}") == expected


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("is_active,name", ["p1", "p3", "p0", "p2"]),
        ("-is_active,-name", ["p2", "p0", "p3", "p1"]),
        ("is_active,-name", ["p3", "p1", "p2", "p0"]),
        ("-is_active,name", ["p0", "p2", "p1", "p3"]),
        ("-is_active", ["p2", "p0", "p3", "p1"]),
        ("is_active,-id", ["p3", "p1", "p2", "p0"]),
    ],
)
async def test_cursor_page_by_tied_values_follows_each_direction(tenant, sort, expected):
    for number in range(4):
        await tenant.create("projects", name=f"p{number}", is_active=number % 2 == 0)

    assert await walked(tenant, f"/v1/projects?limit=1&sort={sort}") == expected
