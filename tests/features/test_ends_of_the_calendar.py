"""The first and the last days and times there are: kept as they were sent, or refused."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from refusals import assert_refused


@pytest.mark.parametrize("day", ["9999-12-31", "0001-01-01"])
async def test_outermost_days_are_days_everywhere(tenant, day):
    project = await tenant.create("projects", name="Endless")
    task = await tenant.create("tasks", project_id=project["id"], title="Wait", due_on=day)
    path = f"/v1/tasks/{task['id']}"
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    read = await tenant.get(path)
    past = await tenant.get(path, params={"as_of": now})
    entry = (await tenant.get(f"{path}/history")).json()["items"][0]
    found = await tenant.get("/v1/tasks", params={"due_on": day})
    beyond = await tenant.get("/v1/tasks", params={"due_on__ne": day})

    assert {task["due_on"], read.json()["due_on"], past.json()["due_on"]} == {day}
    assert entry["changes"]["due_on"] == {"old": None, "new": day}
    assert [row["id"] for row in found.json()["items"]] == [task["id"]]
    assert beyond.json()["items"] == []


@pytest.mark.parametrize(
    "time",
    [
        "9999-12-31T23:59:59.999999Z",
        "9999-12-31T22:59:59.999999-01:00",
        "9999-12-31T23:59:59-14:00",
    ],
)
async def test_time_that_could_not_be_read_back_is_refused_by_its_field(tenant, time):
    refused = await tenant.post("/v1/api-keys", {"name": "For ever", "expires_at": time})

    assert_refused(refused, 422, "invalid", {"/expires_at": "out_of_range"})
    assert "9999-12-31T23:59:59Z" in refused.json()["errors"][0]["message"]
    names = [key["name"] for key in (await tenant.get("/v1/api-keys")).json()["items"]]
    assert "For ever" not in names


async def test_last_second_of_the_calendar_is_kept(tenant):
    time = "9999-12-31T23:59:59Z"

    made = await tenant.post("/v1/api-keys", {"name": f"For ever {uuid4()}", "expires_at": time})

    assert made.status_code == 201
    kept = {key["name"]: key for key in (await tenant.get("/v1/api-keys")).json()["items"]}
    assert kept[made.json()["name"]]["expires_at"] == time


@pytest.mark.parametrize("operator", ["gt", "lt"])
async def test_outermost_times_can_be_compared_with(tenant, operator):
    await tenant.create("projects", name="Present")
    ends = {"gt": "0001-01-01T00:00:00Z", "lt": "9999-12-31T23:59:59.999999Z"}

    found = await tenant.get("/v1/projects", params={f"created_at__{operator}": ends[operator]})

    assert [row["name"] for row in found.json()["items"]] == ["Present"]
