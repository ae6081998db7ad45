"""`as_of`: a row as it was at a time, from what it is now and what the log says happened since."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from refusals import assert_refused

MICROSECOND = timedelta(microseconds=1)


async def as_of(caller, path, time):
    return await caller.get(path, params={"as_of": str(time)})


def shifted(time, by):
    return (datetime.fromisoformat(time) + by).isoformat()


async def lived(tenant, member_with):
    """A task that was created, changed twice, deleted and restored; the answers on the way."""
    project = await tenant.create("projects", name="Rocket")
    values = {"project_id": project["id"], "title": "Fuel", "due_on": "2024-02-29"}
    row = await tenant.create("tasks", **values, assignee_id=tenant.owner_id)
    path = f"/v1/tasks/{row['id']}"
    change = {"title": "Flug \U0001f680", "due_on": None, "assignee_id": None}
    changed = (await member_with(tenant).patch(path, change)).json()
    again = (await tenant.patch(path, {"status": "done", "priority": 0})).json()
    await tenant.delete(path)
    restored = (await tenant.post(f"{path}/restore")).json()
    return path, [row, changed, again, restored]


async def deletion(tenant, path):
    answer = await tenant.get(f"{path}/history?action=soft_delete")
    return answer.json()["items"][0]["at"]


async def test_each_version_is_shown_from_its_own_time_to_the_next(tenant, member_with):
    path, [row, changed, again, restored] = await lived(tenant, member_with)
    gone = await deletion(tenant, path)

    for version, end in (
        (row, changed["updated_at"]),
        (changed, again["updated_at"]),
        (again, gone),
        (restored, datetime.now(UTC).isoformat()),
    ):
        for time in (version["updated_at"], shifted(end, -MICROSECOND)):
            answer = await as_of(tenant, path, time)
            assert answer.status_code == 200, answer.text
            assert answer.json() == version
            assert "etag" not in answer.headers
    assert changed["updated_by"] == f"member:{tenant.owner_id}"


async def test_row_is_absent_before_its_creation_and_while_it_is_deleted(tenant, member_with):
    path, [row, *_, restored] = await lived(tenant, member_with)
    gone = await deletion(tenant, path)

    for time in (
        "1970-01-01T00:00:00Z",
        shifted(row["created_at"], -MICROSECOND),
        gone,
        shifted(restored["updated_at"], -MICROSECOND),
    ):
        assert_refused(await as_of(tenant, path, time), 404, "not_found")
    assert (await as_of(tenant, path, row["created_at"])).status_code == 200


@pytest.mark.parametrize("query", ["", "?hard=true"])
async def test_row_that_is_gone_now_is_shown_as_it_was(tenant, member_with, query):
    path, versions = await lived(tenant, member_with)
    await tenant.delete(path + query)
    answer = await tenant.get(f"/v1/audit?entity_id={versions[0]['id']}&limit=1")
    gone = answer.json()["items"][0]["at"]
    reader = member_with(tenant, permissions=["tasks:read", "audit:read"])

    for version in versions:
        assert (await as_of(reader, path, version["updated_at"])).json() == version
    assert (await as_of(reader, path, shifted(gone, -MICROSECOND))).json() == versions[-1]
    assert_refused(await as_of(reader, path, gone), 404, "not_found")


async def test_each_life_of_a_row_that_was_purged_and_reverted_is_told_apart(tenant):
    row = await tenant.create("projects", name="Rocket", budget_cents=2**63 - 1)
    path = f"/v1/projects/{row['id']}"
    (created,) = (await tenant.get(f"{path}/history")).json()["items"]
    second = (await tenant.patch(path, {"name": "Anvil"})).json()
    await tenant.patch(path, {"is_active": False})
    await tenant.delete(f"{path}?hard=true")
    purge = (await tenant.get(f"/v1/audit?entity_id={row['id']}&limit=1")).json()["items"][0]
    back = (await tenant.post(f"{path}/revert", {"to": created["id"]})).json()
    last = (await tenant.patch(path, {"name": "Third"})).json()

    assert (await as_of(tenant, path, row["updated_at"])).json() == row
    assert (await as_of(tenant, path, second["updated_at"])).json() == second
    assert_refused(await as_of(tenant, path, purge["at"]), 404, "not_found")
    assert (await as_of(tenant, path, back["updated_at"])).json() == back
    assert (await as_of(tenant, path, last["updated_at"])).json() == last
    assert (back["version"], last["version"]) == (4, 5)


async def test_sql_that_leaves_the_version_alone_makes_it_a_guess_of_at_least_one(
    tenant, in_tenant
):
    row = await tenant.create("projects", name="Rocket")
    path = f"/v1/projects/{row['id']}"
    for number in range(3):
        in_tenant(tenant, "UPDATE projects SET budget_cents = %s", number)
    middle, *_ = (await tenant.get(f"{path}/history?sort=id&action=update")).json()["items"]

    past = (await as_of(tenant, path, middle["at"])).json()

    assert (past["budget_cents"], past["version"]) == (0, 1)
    assert (past["updated_at"], past["updated_by"]) == (middle["at"], "role:saas_app")
    assert (await as_of(tenant, path, row["created_at"])).json() == row


async def test_row_that_sql_dates_back_exists_from_its_insert_with_what_it_says(tenant, in_tenant):
    id = str(uuid4())
    path = f"/v1/projects/{id}"
    in_tenant(
        tenant,
        "INSERT INTO projects (tenant_id, id, name, version, created_at, created_by, updated_by)"
        " VALUES (%s, %s, 'Old', 5, '2020-01-01', 'member:x', 'member:y')",
        *(tenant.tenant_id, id),
    )
    row = (await tenant.get(path)).json()
    in_tenant(tenant, "UPDATE projects SET name = 'New' WHERE id = %s", id)
    (insert,) = (await tenant.get(f"{path}/history?action=insert")).json()["items"]

    assert_refused(await as_of(tenant, path, "2021-01-01T00:00:00Z"), 404, "not_found")
    assert (await as_of(tenant, path, insert["at"])).json() == row
    assert (row["version"], row["updated_by"]) == (5, "member:y")


async def test_log_that_lost_its_beginning_still_tells_what_it_can(tenant, as_superuser):
    row = await tenant.create("projects", name="Rocket", budget_cents=1)
    path = f"/v1/projects/{row['id']}"
    changed = (await tenant.patch(path, {"name": "Anvil"})).json()
    insert, update = (await tenant.get(f"{path}/history?sort=id")).json()["items"]
    before = shifted(row["created_at"], -MICROSECOND)

    for lost in (insert, update):
        as_superuser("DELETE FROM audit_log WHERE id = %s", lost["id"])
        expected = row if lost is insert else row | {"name": "Anvil", "version": 2}
        past = (await as_of(tenant, path, row["created_at"])).json()
        assert past["name"] == expected["name"]
        assert past["version"] == expected["version"]
        assert (await as_of(tenant, path, changed["updated_at"])).json() == changed
        assert_refused(await as_of(tenant, path, before), 404, "not_found")


@pytest.mark.parametrize(
    "time",
    [
        "",
        "yesterday",
        "1700000000",
        "2026-01-31",
        "2026-01-31T09:00:00",
        "2026-02-30T09:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59Z",
        "2026-01-31T09:00:00Z\0",
    ],
)
async def test_time_that_is_none_or_not_yet_is_refused(tenant, time):
    row = await tenant.create("projects", name="Rocket")
    path = f"/v1/projects/{row['id']}"

    refused = await as_of(tenant, path, time)
    of_absent = await as_of(tenant, f"/v1/projects/{uuid4()}", time)

    for answer in (refused, of_absent):
        assert_refused(answer, 400, "bad_request", {"/as_of": "bad_parameter"})
    assert (await as_of(tenant, path, row["created_at"])).status_code == 200


async def test_time_is_given_once_and_in_any_offset(tenant):
    row = await tenant.create("projects", name="Rocket")
    path = f"/v1/projects/{row['id']}"
    time = datetime.fromisoformat(row["created_at"])
    utc = time.isoformat().replace("+00:00", "Z")

    twice = await tenant.get(f"{path}?as_of={utc}&as_of={utc}")
    elsewhere = (time + timedelta(hours=5, minutes=30)).replace(tzinfo=None).isoformat()
    ahead = await as_of(tenant, path, f"{elsewhere}+05:30")
    unescaped = await tenant.get(f"{path}?as_of={elsewhere}+05:30")

    assert_refused(twice, 400, "bad_request", {"/as_of": "bad_parameter"})
    assert_refused(unescaped, 400, "bad_request", {"/as_of": "bad_parameter"})
    assert ahead.json() == row


async def test_past_is_read_with_the_right_to_read(tenant, member_with):
    row = await tenant.create("projects", name="Rocket")
    path = f"/v1/projects/{row['id']}"

    allowed = await as_of(
        member_with(tenant, permissions=["projects:read"]), path, row["created_at"]
    )
    refused = await as_of(member_with(tenant, permissions=["tasks:read"]), path, row["created_at"])

    assert allowed.json() == row
    assert assert_refused(refused, 403, "permission_denied")["permission"] == "projects:read"


@pytest.mark.parametrize("query", ["", "?hard=true"])
async def test_past_of_another_tenants_row_is_as_absent_as_one_that_never_was(
    tenant, other_tenant, query
):
    own = await other_tenant.create("projects", name="Own")
    row = await tenant.create("projects", name="Rocket")
    path = f"/v1/projects/{row['id']}"
    await tenant.patch(path, {"name": "Anvil"})
    await tenant.delete(path + query)
    at, same_id = {"as_of": row["created_at"]}, {"X-Request-ID": "probe"}

    absent = await other_tenant.get(f"/v1/projects/{uuid4()}", params=at, headers=same_id)
    foreign = await other_tenant.get(path, params=at, headers=same_id)

    assert_refused(absent, 404, "not_found")
    assert (foreign.status_code, foreign.content) == (404, absent.content)
    assert (await tenant.get(path, params=at)).json() == row
    assert (await as_of(other_tenant, f"/v1/projects/{own['id']}", own["created_at"])).json() == own


async def test_purged_row_is_shown_only_to_who_may_read_the_log(tenant, member_with):
    row = await tenant.create("projects", name="Rocket")
    path = f"/v1/projects/{row['id']}"
    viewer = member_with(tenant, permissions=["projects:read"])
    assert (await as_of(viewer, path, row["created_at"])).json() == row

    await tenant.delete(f"{path}?hard=true")

    assert_refused(await as_of(viewer, path, row["created_at"]), 404, "not_found")
    assert (await as_of(tenant, path, row["created_at"])).json() == row
