"""`or=(…)`: rows that fulfil one of several conditions, and texts that mean nothing."""

import pytest
from refusals import assert_refused
from shelves import PROJECTS, found, stocked


@pytest.fixture(scope="module")
async def shelf(onboard):
    return await stocked(onboard)


async def either(caller, resource, text, **more):
    answer = await caller.get(f"/v1/{resource}", params={"or": text, **more})
    assert answer.status_code == 200, answer.text
    return {row.get("name", row.get("title")) for row in answer.json()["items"]}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("(name.eq.Alpha)", {"Alpha"}),
        ("(name.eq.Alpha,name.eq.beta_x)", {"Alpha", "beta_x"}),
        ("(name.eq.nobody,name.eq.none)", set()),
        ("(is_active.eq.false,budget_cents.gte.200)", {*PROJECTS} - {"Alpha"}),
        ("(is_active.ne.true,name.lt.Beta)", {"Alpha", "alpha beta", "beta_x"}),
        ("(description.isnull.true,budget_cents.lte.-300)", {"alpha beta", "beta_x"}),
        ("(description.isnull.false)", {*PROJECTS} - {"alpha beta"}),
        ("(name.in.(Alpha,beta_x),budget_cents.gt.100)", {*PROJECTS} - {"alpha beta"}),
        ("(name.in.(Alpha))", {"Alpha"}),
        ("(budget_cents.nin.(100,200),name.eq.Alpha)", {"Alpha", "beta_x"}),
        ("(name.contains.%,name.startswith.beta)", {"Beta%", "beta_x"}),
        ("(name.like.A____,name.ilike.ÜNDER)", {"Alpha", "Ünder"}),
        (r"(name.like.beta\_x)", {"beta_x"}),
        (r'(name.like."beta\\_x")', {"beta_x"}),
        ("(description.icontains.OFF NOW)", {"Beta%"}),
        ('(description.eq."alpha, in the end")', {"Ünder"}),
        ('(description.in.("alpha, in the end","50% off_now"))', {"Ünder", "Alpha"}),
        (r'(description.eq."C:\\temp",name.eq."Alpha")', {"beta_x", "Alpha"}),
        (r'(name.eq."\"",name.eq."")', set()),
        ('(name.eq."a.b(c)")', set()),
        ("(name.eq.Alpha,name.eq.Alpha)", {"Alpha"}),
        ("(version.eq.1)", {*PROJECTS}),
    ],
)
async def test_row_is_found_when_one_condition_holds(shelf, text, names):
    assert await either(shelf, "projects", text) == names


@pytest.mark.parametrize(
    ("text", "titles"),
    [
        ("(status.eq.done,priority.gte.3)", {"b", "c"}),
        ("(due_on.isnull.true,due_on.lt.2026-02-01)", {"a", "c"}),
        ("(due_on.in.(2026-01-31,2026-02-01))", {"a", "b"}),
        ("(created_at.gte.2020-01-31T09:00:00+02:00)", {"a", "b", "c"}),
        ('(created_at.lt."2020-01-31T09:00:00.5Z",status.eq.todo)', {"a"}),
        ("(id.eq.0192f3a0-5b6c-7def-8abc-0123456789ab,priority.nin.(0,4))", {"c"}),
    ],
)
async def test_each_type_can_stand_in_a_condition(shelf, text, titles):
    assert await either(shelf, "tasks", text) == titles


async def test_other_filters_and_search_narrow_the_alternatives(shelf):
    text = "(name.eq.Alpha,name.eq.alpha beta)"

    assert await either(shelf, "projects", text, is_active="false") == {"alpha beta"}
    assert await either(shelf, "projects", text, q="beta") == {"alpha beta"}
    assert await either(shelf, "projects", text, budget_cents__isnull="false") == {"Alpha"}
    assert await found(shelf, "projects", f"or={text}&name=Ünder") == set()


async def test_total_and_pages_are_those_of_the_alternatives(shelf):
    query = {"or": "(is_active.eq.false,name.eq.Alpha)", "sort": "name", "limit": 2}
    first = await shelf.get("/v1/projects", params=query | {"include_total": "true"})
    second = await shelf.get(first.links["next"]["url"])

    assert first.json()["total"] == 3
    rows = first.json()["items"] + second.json()["items"]
    assert [row["name"] for row in rows] == ["Alpha", "alpha beta", "beta_x"]


async def test_cursor_belongs_to_its_alternatives(shelf):
    query = {"or": "(is_active.eq.false,name.eq.Alpha)", "limit": "1"}
    cursor = (await shelf.get("/v1/projects", params=query)).json()["next_cursor"]

    taken = await shelf.get("/v1/projects", params=query | {"cursor": cursor})
    others = [{"or": "(is_active.eq.false,name.eq.Beta)"}, {"or": "(is_active.eq.false)"}]

    assert taken.status_code == 200
    for other in others:
        refused = await shelf.get("/v1/projects", params=query | other | {"cursor": cursor})
        assert_refused(refused, 400, "bad_request", {"/cursor": "bad_parameter"})
    without = await shelf.get("/v1/projects", params={"limit": "1", "cursor": cursor})
    assert_refused(without, 400, "bad_request", {"/cursor": "bad_parameter"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "At character 1: expected (."),
        ("name.eq.a", "At character 1: expected (."),
        (" (name.eq.a)", "At character 1: expected (."),
        ("(", "At character 2: expected field.operator.value."),
        ("()", "At character 2: expected field.operator.value."),
        ("(name)", "At character 2: expected field.operator.value."),
        ("(name.eq)", "At character 2: expected field.operator.value."),
        ("(.eq.a)", "At character 2: expected field.operator.value."),
        ("(name..a)", "At character 2: expected field.operator.value."),
        ("((name.eq.a))", "At character 2: expected field.operator.value."),
        ("(name.eq.)", "At character 10: expected a value."),
        ("(name.eq.a", "At character 11: expected , or )."),
        ("(name.eq.a,)", "At character 12: expected field.operator.value."),
        ("(name.eq.a,,name.eq.b)", "At character 12: expected field.operator.value."),
        ("(name.eq.a))", "At character 12: expected the end."),
        ("(name.eq.a)x", "At character 12: expected the end."),
        ("(name.eq.a.b)", "At character 11: expected , or )."),
        ('(name.eq.a"b")', "At character 11: expected , or )."),
        ('(name.eq."a)', "At character 10: expected a value."),
        ('(name.eq."a"b)', "At character 13: expected , or )."),
        (r'(name.eq."\a")', "At character 10: expected a value."),
        (r'(name.eq."\")', "At character 10: expected a value."),
        ("(name.in.())", "At character 11: expected a value."),
        ("(name.in.(a,))", "At character 13: expected a value."),
        ("(name.in.(a)", "At character 13: expected , or )."),
        ("(name.in.((a)))", "At character 11: expected a value."),
        ("(name.in.a)", "name.in: in and nin take a list in brackets"),
        ("(name.eq.(a,b))", "name.eq: in and nin take a list in brackets"),
        ("(name.eq.(a))", "name.eq: in and nin take a list in brackets"),
        ("(colour.eq.red)", "colour.eq: Unknown field. Allowed: id, name"),
        ("(name.eq.a, name.eq.b)", " name.eq: Unknown field. Allowed: id, name"),
        ("(tenant_id.eq.x)", "tenant_id.eq: Unknown field. Allowed: id, name"),
        ("(deleted_at.isnull.true)", "deleted_at.isnull: Unknown field."),
        ("(name.regex.a)", "name.regex: Unknown operator. Allowed: eq, ne"),
        ("(name__eq.eq.a)", "name__eq.eq: Unknown field."),
        ("(is_active.eq.1)", "is_active.eq: Give true or false."),
        ("(description.isnull.maybe)", "description.isnull: Give true or false."),
        ("(budget_cents.in.(1,x))", "budget_cents.in: Give an integer"),
        ("(name.like.a\\)", "name.like: A backslash"),
        ("(name.eq.\0)", "name.eq: The text holds a character"),
        (f"(name.in.({','.join('a' * 101)}))", "name.in: At most 100 values"),
        (f"({','.join(['name.eq.a'] * 51)})", "At most 50 filters"),
    ],
)
async def test_text_that_means_nothing_is_refused_saying_what_is_right(shelf, text, said):
    refused = await shelf.get("/v1/projects", params={"or": text})

    problem = assert_refused(refused, 400, "bad_request", {"/or": "bad_parameter"})
    assert problem["detail"].startswith("The query parameter 'or' is refused. ")
    assert said in problem["detail"]


async def test_limits_hold_over_all_filters_and_one_group(shelf):
    group = ",".join(["name.eq.Alpha"] * 49)

    taken = await shelf.get("/v1/projects", params={"or": f"({group})", "name": "Alpha"})
    beyond = {"or": f"({group},version.eq.1)", "name": "Alpha"}
    refused = await shelf.get("/v1/projects", params=beyond)
    twice = await shelf.get("/v1/projects?or=(name.eq.a)&or=(name.eq.b)")

    assert [row["name"] for row in taken.json()["items"]] == ["Alpha"]
    assert "50" in assert_refused(refused, 400, "bad_request")["detail"]
    assert "once" in assert_refused(twice, 400, "bad_request")["detail"]
    hundred = f"(name.in.({','.join(['Alpha'] * 100)}))"
    assert await either(shelf, "projects", hundred) == {"Alpha"}
