"""The page before: its cursor, its link, and what becomes of it when rows are gone."""

import pytest
from refusals import assert_refused


@pytest.fixture
async def shelf(tenant):
    """A tenant with five projects, `p0` the oldest."""
    for number in range(5):
        await tenant.create("projects", name=f"p{number}")
    return tenant


def names(answer):
    assert answer.status_code == 200, answer.text
    return [row["name"] for row in answer.json()["items"]]


async def at(caller, cursor, **query):
    return await caller.get("/v1/projects", params={"limit": 2, "cursor": cursor, **query})


async def test_page_before_has_its_rows_in_the_order_of_the_list(shelf):
    first = await shelf.get("/v1/projects?limit=2")
    second = await at(shelf, first.json()["next_cursor"])
    third = await at(shelf, second.json()["next_cursor"])

    back = await at(shelf, third.json()["prev_cursor"])
    begin = await at(shelf, back.json()["prev_cursor"])

    assert (names(first), names(second), names(third)) == (["p4", "p3"], ["p2", "p1"], ["p0"])
    assert first.json()["prev_cursor"] is None
    assert third.json()["next_cursor"] is None
    assert names(back) == names(second)
    assert names(begin) == names(first)
    assert begin.json()["prev_cursor"] is None
    assert names(await at(shelf, begin.json()["next_cursor"])) == names(second)


async def test_links_tell_both_neighbours_and_keep_the_query(shelf):
    query = "limit=2&sort=-name&or=(name.ne.p2)&fields=name&include_total=true"
    first = await shelf.get(f"/v1/projects?{query}")
    second = await shelf.get(first.links["next"]["url"])
    back = await shelf.get(second.links["prev"]["url"])

    assert first.links.keys() == back.links.keys() == {"next"}
    assert second.links.keys() == {"prev"}
    assert back.json()["items"] == first.json()["items"] == [{"name": "p4"}, {"name": "p3"}]
    assert back.json()["total"] == 4


@pytest.mark.parametrize(
    ("offset", "limit", "before", "then"),
    [(4, 2, "2", ["p2", "p1"]), (1, 2, "0", ["p4", "p3"]), (9, 2, "3", ["p1", "p0"])],
)
async def test_page_by_offset_leads_back_by_offset(shelf, offset, limit, before, then):
    answer = await shelf.get(f"/v1/projects?offset={offset}&limit={limit}")
    back = await shelf.get(answer.links["prev"]["url"])

    assert f"offset={before}" in answer.links["prev"]["url"]
    assert names(back) == then
    first = await shelf.get("/v1/projects?offset=0&limit=2")
    assert first.json()["prev_cursor"] is None
    assert first.links.keys() == {"next"}


async def test_rows_that_come_and_go_do_not_shift_the_page_before(shelf):
    second = await at(shelf, (await shelf.get("/v1/projects?limit=2")).json()["next_cursor"])
    for row in second.json()["items"]:
        await shelf.delete(f"/v1/projects/{row['id']}")
    await shelf.create("projects", name="p5")

    back = await at(shelf, second.json()["prev_cursor"])

    assert names(back) == ["p4", "p3"]
    assert names(await at(shelf, back.json()["prev_cursor"])) == ["p5"]


async def test_page_that_has_emptied_leads_back_to_what_is_left(shelf):
    first = await shelf.get("/v1/projects?limit=2")
    second = await at(shelf, first.json()["next_cursor"])
    for row in [
        *second.json()["items"],
        *(await shelf.get("/v1/projects?name=p0")).json()["items"],
    ]:
        await shelf.delete(f"/v1/projects/{row['id']}")

    empty = await at(shelf, first.json()["next_cursor"])
    back = await at(shelf, empty.json()["prev_cursor"])

    assert (names(empty), empty.json()["next_cursor"]) == ([], None)
    assert names(back) == ["p4", "p3"]
    assert (back.json()["next_cursor"], back.json()["prev_cursor"]) == (None, None)


async def test_first_page_that_has_emptied_leads_on_to_what_is_left(shelf):
    first = await shelf.get("/v1/projects?limit=2")
    second = await at(shelf, first.json()["next_cursor"])
    for row in first.json()["items"]:
        await shelf.delete(f"/v1/projects/{row['id']}")

    empty = await at(shelf, second.json()["prev_cursor"])
    on = await at(shelf, empty.json()["next_cursor"])

    assert (names(empty), empty.json()["prev_cursor"]) == ([], None)
    assert names(on) == ["p2", "p1"]
    assert on.json()["prev_cursor"] is None


async def test_cursor_back_is_bound_as_the_one_forth_is(shelf, other_tenant):
    cursor = (await shelf.get("/v1/projects?limit=2")).json()["next_cursor"]
    back = (await at(shelf, cursor)).json()["prev_cursor"]
    await other_tenant.create("projects", name="theirs")

    assert names(await at(shelf, back)) == ["p4", "p3"]
    for refused in (
        await at(other_tenant, back),
        await at(shelf, back, sort="name"),
        await at(shelf, back, name="p1"),
        await at(shelf, back, **{"or": "(name.eq.p1)"}),
        await at(shelf, back, q="p"),
        await at(shelf, back, deleted="include"),
        await at(shelf, back, offset=1),
        await shelf.get("/v1/tasks", params={"cursor": back}),
    ):
        assert_refused(refused, 400, "bad_request", {"/cursor": "bad_parameter"})


async def test_history_audit_and_tenants_have_a_page_before(shelf, operator):
    row = (await shelf.get("/v1/projects?limit=1")).json()["items"][0]
    await shelf.patch(f"/v1/projects/{row['id']}", {"budget_cents": 1})

    for caller, path in (
        (shelf, f"/v1/projects/{row['id']}/history"),
        (shelf, "/v1/audit"),
        (operator, "/v1/admin/tenants"),
    ):
        first = await caller.get(f"{path}?limit=1")
        second = await caller.get(first.links["next"]["url"])
        back = await caller.get(second.links["prev"]["url"])
        assert second.json()["items"] != first.json()["items"]
        assert back.json()["items"] == first.json()["items"]
