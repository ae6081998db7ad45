"""Texts of every script come back as they were sent; what is no name or no date is refused."""

import pytest
from refusals import assert_refused

NO_DATES = (
    "0000-01-01",
    "10000-01-01",
    "-001-01-01",
    "+2026-01-01",
    "2026-02-30",
    "2026-13-01",
    "2026-00-10",
    "2026-1-1",
    "2026-W01-1",
    "2026-001",
    "20260101",
    "2026-01-01T00:00:00Z",
    " 2026-01-01",
    "2026-01-01\n",
    "infinity",
    "today",
    "",
    1_700_000_000,
)


@pytest.mark.parametrize(
    "name",
    [
        "e\u0301te\u0301",
        "\u00e9t\u00e9",
        "\u05e9\u05dc\u05d5\u05dd \u202eabc",
        "\u0645\u0631\u062d\u0628\u0627",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467",
        "\U00020000\U0010ffff",
        "a\u0308\u0323" * 40,
        "line\nbreak\tand \x01 \x7f",
        "'; DROP TABLE projects; --",
        "<script>alert(1)</script>",
        "%s {0} ${x} \\x",
        "  padded  ",
        "\ufeffmark",
    ],
    ids=ascii,
)
async def test_text_of_any_script_comes_back_as_it_was_sent(tenant, name):
    row = await tenant.create("projects", name=name)

    read = await tenant.get(f"/v1/projects/{row['id']}")
    found = await tenant.get("/v1/projects", params={"name": name})

    assert (row["name"], read.json()["name"]) == (name, name)
    assert [one["id"] for one in found.json()["items"]] == [row["id"]]


@pytest.mark.parametrize(
    "blank", ["  ", "\t\n", "\u00a0\u2003", "\u3000\u3000", "\x1c\x1f", "\x85\ufeff"], ids=ascii
)
async def test_name_of_only_spaces_is_refused(tenant, operator, blank):
    project = await tenant.create("projects", name="Rocket")
    owner = {"email": "ada@blank.test", "name": "Ada"}
    wish = {"slug": "blank-tenant", "name": "Blank", "owner": owner}

    named = await tenant.post("/v1/projects", {"name": blank})
    renamed = await tenant.patch(f"/v1/projects/{project['id']}", {"name": blank})
    titled = await tenant.post("/v1/tasks", {"project_id": project["id"], "title": blank})
    onboarded = await operator.post("/v1/admin/tenants", wish | {"name": blank})
    owned = await operator.post("/v1/admin/tenants", wish | {"owner": owner | {"name": blank}})

    for refused, pointer in (
        (named, "/name"),
        (renamed, "/name"),
        (titled, "/title"),
        (onboarded, "/name"),
        (owned, "/owner/name"),
    ):
        assert_refused(refused, 422, "invalid", {pointer: "wrong_pattern"})
    kept = (await tenant.get("/v1/projects")).json()["items"]
    assert kept == [project]
    assert (await operator.get("/v1/admin/tenants?slug=blank-tenant")).json()["items"] == []


@pytest.mark.parametrize("day", NO_DATES)
async def test_what_is_no_date_is_refused(tenant, day):
    project = await tenant.create("projects", name="Rocket")
    task = {"project_id": project["id"], "title": "Launch"}

    refused = await tenant.post("/v1/tasks", task | {"due_on": day})
    taken = await tenant.post("/v1/tasks", task | {"due_on": "2024-02-29"})

    code = "wrong_type" if isinstance(day, int) else "invalid_format"
    assert_refused(refused, 422, "invalid", {"/due_on": code})
    assert taken.json()["due_on"] == "2024-02-29"


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31"])
async def test_first_and_last_day_of_the_calendar_are_stored(tenant, day):
    project = await tenant.create("projects", name="Rocket")

    task = await tenant.create("tasks", project_id=project["id"], title="Launch", due_on=day)
    found = await tenant.get(f"/v1/tasks?due_on__in={day}&sort=due_on")

    assert task["due_on"] == day
    assert found.json()["items"] == [task]
