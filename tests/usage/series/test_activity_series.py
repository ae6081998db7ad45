"""What was changed over time, and by whom."""

import pytest

from saas.db.database import Database
from saas.usage.folding import fold

JANUARY = {"from": "2026-01-01", "to": "2026-01-04"}
ACTIONS = ("created", "updated", "deleted")


async def activity(caller, **query):
    answer = await caller.get("/v1/stats/activity", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def values(found):
    return {
        (one["resource"], one["action"]): [point["value"] for point in one["points"]]
        for one in found["series"]
    }


NOTHING = {
    (resource, action): [0, 0, 0] for resource in ("projects", "tasks") for action in ACTIONS
}


async def test_every_resource_and_action_is_a_series_also_of_nothing(tenant):
    found = await activity(tenant, **JANUARY)

    assert [*values(found).items()] == [*NOTHING.items()]
    assert found["top_actors"] == []


async def test_changes_are_in_the_buckets_of_the_zone(tenant, figures):
    figures.activity(tenant, "2026-01-01T23:30Z", "member:a", (5, 4, 0))
    figures.activity(tenant, "2026-01-02T00:15Z", "key:b", (1, 0, 2), "tasks")
    # No resource of the product.
    figures.activity(tenant, "2026-01-02T00:15Z", "key:b", (9, 9, 9), "members")

    utc = values(await activity(tenant, **JANUARY))
    berlin = values(await activity(tenant, **JANUARY, tz="Europe/Berlin"))

    tasks = {("tasks", "created"): [0, 1, 0], ("tasks", "deleted"): [0, 2, 0]}
    projects = ("projects", "created"), ("projects", "updated")
    assert utc == NOTHING | tasks | dict(zip(projects, ([5, 0, 0], [4, 0, 0]), strict=True))
    assert berlin == NOTHING | tasks | dict(zip(projects, ([0, 5, 0], [0, 4, 0]), strict=True))


async def test_actors_who_changed_most_come_first_and_ten_at_most(tenant, figures):
    for number in range(12):
        figures.activity(tenant, "2026-01-01T10:00Z", f"member:{number:02}", (number, 1, 0))
    figures.activity(tenant, "2026-01-03T10:00Z", "member:01", (0, 0, 30), "tasks")
    figures.activity(tenant, "2026-01-03T10:00Z", "key:x", (99, 0, 0), "members")
    figures.activity(tenant, "2026-01-04T00:00Z", "key:late", (99, 0, 0))

    top = (await activity(tenant, **JANUARY))["top_actors"]

    assert top[0] == {"actor": "member:01", "created": 1, "updated": 1, "deleted": 30}
    expected = [f"member:{number:02}" for number in (11, 10, 9, 8, 7, 6, 5, 4, 3)]
    assert [one["actor"] for one in top[1:]] == expected


async def test_changes_show_at_once_and_once_when_they_are_folded(tenant, settings):
    row = await tenant.create("projects", name="Rocket")
    await tenant.patch(f"/v1/projects/{row['id']}", {"budget_cents": 1})

    new = await activity(tenant)
    async with Database(settings.database_url, settings.platform_database_url) as database:
        await fold(database)
    await tenant.delete(f"/v1/projects/{row['id']}")
    folded = await activity(tenant)

    (actor,) = folded["top_actors"]
    assert [values(new)["projects", action][-1] for action in ACTIONS] == [1, 1, 0]
    assert [values(folded)["projects", action][-1] for action in ACTIONS] == [1, 1, 1]
    assert actor == {
        "actor": f"key:{tenant.body['api_key']['id']}",
        **dict.fromkeys(ACTIONS, 1),
    }


@pytest.mark.parametrize("entity", ["projects", "tasks"])
async def test_another_tenants_changes_move_nothing(tenant, other_tenant, figures, entity):
    figures.activity(tenant, "2026-01-01T10:00Z", "member:a", (1, 0, 0))
    before = await activity(tenant, **JANUARY)

    figures.activity(other_tenant, "2026-01-01T10:00Z", "member:a", (7, 7, 7), entity)
    await other_tenant.create("projects", name="Rocket")

    assert await activity(tenant, **JANUARY) == before
    assert values(await activity(other_tenant, **JANUARY))[entity, "created"] == [7, 0, 0]
