"""Where the way back is shut: parents that are gone, and values that are allowed no longer."""

import pytest
from histories import entries, logged
from refusals import assert_refused


@pytest.mark.parametrize("query", ["", "?hard=true"])
async def test_reference_to_a_parent_that_is_gone_is_a_conflict(tenant, query):
    first = await tenant.create("projects", name="First")
    second = await tenant.create("projects", name="Second")
    task = await tenant.create("tasks", project_id=first["id"], title="Fuel")
    path = f"/v1/tasks/{task['id']}"
    await tenant.patch(path, {"project_id": second["id"]})
    created, moved = await entries(tenant, path)

    await tenant.delete(f"/v1/projects/{first['id']}{query}")
    to_gone = await tenant.post(f"{path}/revert", {"to": created})
    to_live = await tenant.post(f"{path}/revert", {"to": moved})

    assert_refused(to_gone, 409, "parent_gone", {"/project_id": "unknown_reference"})
    assert (to_live.status_code, to_live.json()["project_id"]) == (200, second["id"])


async def test_child_of_a_deleted_parent_may_change_but_not_come_back(tenant):
    project = await tenant.create("projects", name="Rocket")
    task = await tenant.create("tasks", project_id=project["id"], title="Fuel")
    path = f"/v1/tasks/{task['id']}"
    await tenant.patch(path, {"title": "Fly"})
    created, changed = await entries(tenant, path)
    await tenant.delete(f"/v1/projects/{project['id']}")

    live = await tenant.post(f"{path}/revert", {"to": created})
    await tenant.delete(path)
    deleted = await tenant.post(f"{path}/revert", {"to": changed})

    assert (live.status_code, live.json()["title"]) == (200, "Fuel")
    assert_refused(deleted, 409, "parent_gone")


async def test_purged_parent_and_children_come_back_one_by_one(tenant):
    project = await tenant.create("projects", name="Rocket")
    task = await tenant.create("tasks", project_id=project["id"], title="Fuel", priority=4)
    (of_project,) = await logged(tenant, project["id"])
    (of_task,) = await logged(tenant, task["id"])
    await tenant.delete(f"/v1/projects/{project['id']}?hard=true")

    early = await tenant.post(f"/v1/tasks/{task['id']}/revert", {"to": of_task})
    parent = await tenant.post(f"/v1/projects/{project['id']}/revert", {"to": of_project})
    child = await tenant.post(f"/v1/tasks/{task['id']}/revert", {"to": of_task})

    assert_refused(early, 409, "parent_gone")
    assert (parent.status_code, child.status_code) == (200, 200)
    changed = {"version": 2, "updated_at": child.json()["updated_at"]}
    assert child.json() == task | changed


async def test_old_value_that_is_refused_now_is_told_with_its_pointer(tenant, as_superuser):
    project = await tenant.create("projects", name="Rocket")
    task = await tenant.create("tasks", project_id=project["id"], title="Fuel")
    path = f"/v1/tasks/{task['id']}"
    await tenant.patch(path, {"status": "done"})
    await tenant.patch(path, {"title": "Fly"})
    created, done, _ = await entries(tenant, path)
    # As if the model had allowed it once.
    as_superuser(
        """UPDATE audit_log SET changes = jsonb_set(changes, '{old,status}', '"lost"')"""
        " WHERE id = %s",
        done,
    )

    refused = await tenant.post(f"{path}/revert", {"to": created})
    allowed = await tenant.post(f"{path}/revert", {"to": done})

    assert_refused(refused, 422, "invalid", {"/status": "invalid"})
    assert (allowed.status_code, allowed.json()["title"]) == (200, "Fuel")
