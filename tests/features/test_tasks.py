"""Tasks: a child of a project, with references that must be live rows of the same tenant."""

from uuid import uuid4

import pytest
from refusals import assert_refused


@pytest.fixture
async def project(tenant):
    return await tenant.create("projects", name="Rocket")


async def test_created_task_has_its_defaults_and_reads_back(tenant, project):
    answer = await tenant.post("/v1/tasks", {"project_id": project["id"], "title": "Fuel"})

    row = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/v1/tasks/{row['id']}"
    assert (row["status"], row["priority"], row["due_on"], row["assignee_id"]) == (
        "todo",
        2,
        None,
        None,
    )
    assert "tenant_id" not in row
    assert (await tenant.get(f"/v1/tasks/{row['id']}")).json() == row


async def test_task_keeps_all_its_values_and_null_clears_them(tenant, project):
    values = {
        "project_id": project["id"],
        "title": "F",
        "status": "doing",
        "priority": 4,
        "due_on": "2024-02-29",
        "assignee_id": tenant.owner_id,
    }
    row = await tenant.create("tasks", **values)

    cleared = await tenant.patch(f"/v1/tasks/{row['id']}", {"due_on": None, "assignee_id": None})

    assert values.items() <= row.items()
    assert (cleared.json()["due_on"], cleared.json()["assignee_id"]) == (None, None)
    assert cleared.json()["status"] == "doing"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"title": ""}, "too_short"),
        ({"title": "t" * 201}, "too_long"),
        ({"title": None}, "wrong_type"),
        ({"status": "lost"}, "unknown_value"),
        ({"status": None}, None),
        ({"priority": -1}, "out_of_range"),
        ({"priority": 5}, "out_of_range"),
        ({"priority": "2"}, "wrong_type"),
        ({"priority": None}, "wrong_type"),
        ({"due_on": "2026-02-30"}, "invalid_format"),
        ({"due_on": "2026-01-01T00:00:00Z"}, "invalid_format"),
        ({"due_on": 20260101}, "wrong_type"),
        ({"assignee_id": "ada"}, "invalid_format"),
        ({"project_id": ""}, "invalid_format"),
        ({"project_id": None}, "wrong_type"),
        ({"project_id": 1}, "wrong_type"),
    ],
)
async def test_invalid_field_is_refused_with_its_pointer(tenant, project, change, fault):
    row = await tenant.create("tasks", project_id=project["id"], title="Fuel")
    body = {"project_id": project["id"], "title": "Fly"} | change

    created = await tenant.post("/v1/tasks", body)
    updated = await tenant.patch(f"/v1/tasks/{row['id']}", change)

    (field,) = change
    for refused in (created, updated):
        problem = assert_refused(refused, 422, "invalid")
        (found,) = problem["errors"]
        assert found["pointer"] == f"/{field}"
        assert fault in (None, found["code"])
    assert (await tenant.get("/v1/tasks")).json()["items"] == [row]


async def test_longest_title_and_extreme_values_are_stored(tenant, project):
    early = await tenant.create(
        "tasks", project_id=project["id"], title="t" * 200, priority=0, due_on="0001-01-01"
    )
    late = await tenant.create(
        "tasks", project_id=project["id"], title="ü" * 200, priority=4, due_on="9999-12-31"
    )

    found = (await tenant.get("/v1/tasks?sort=due_on")).json()["items"]

    assert found == [early, late]


async def test_title_is_taken_only_within_its_project(tenant, project):
    other = await tenant.create("projects", name="Anvil")
    row = await tenant.create("tasks", project_id=project["id"], title="Fuel")
    elsewhere = await tenant.create("tasks", project_id=other["id"], title="Fuel")

    again = await tenant.post("/v1/tasks", {"project_id": project["id"], "title": "Fuel"})
    moved = await tenant.patch(f"/v1/tasks/{elsewhere['id']}", {"project_id": project["id"]})
    await tenant.delete(f"/v1/tasks/{row['id']}")
    moved_later = await tenant.patch(f"/v1/tasks/{elsewhere['id']}", {"project_id": project["id"]})

    for refused in (again, moved):
        taken = {"/project_id": "taken", "/title": "taken"}
        assert_refused(refused, 409, "already_exists", taken)
    assert moved_later.status_code == 200
    assert moved_later.json()["project_id"] == project["id"]


async def test_absent_deleted_and_foreign_projects_are_refused_alike(tenant, other_tenant, project):
    deleted = await tenant.create("projects", name="Deleted")
    await tenant.delete(f"/v1/projects/{deleted['id']}")
    foreign = await other_tenant.create("projects", name="Foreign")
    row = await tenant.create("tasks", project_id=project["id"], title="Fuel")
    same_id = {"X-Request-ID": "one-for-all"}

    refused = []
    for id in (str(uuid4()), deleted["id"], foreign["id"], other_tenant.owner_id):
        body = {"project_id": id, "title": "Fly"}
        refused.append(await tenant.post("/v1/tasks", body, headers=same_id))
        refused.append(
            await tenant.patch(f"/v1/tasks/{row['id']}", {"project_id": id}, headers=same_id)
        )

    assert_refused(refused[0], 422, "invalid", {"/project_id": "unknown_reference"})
    assert {(answer.status_code, answer.content) for answer in refused} == {
        (422, refused[0].content)
    }
    assert (await tenant.get("/v1/tasks")).json()["items"] == [row]


async def test_assignee_must_be_a_member_of_the_tenant(tenant, other_tenant, project, in_tenant):
    (deleted,) = in_tenant(
        tenant,
        """INSERT INTO members (tenant_id, email, name, role, created_by, updated_by, deleted_at)
        VALUES (%s, 'gone@x.test', 'Gone', 'member', 'system:test', 'system:test', now())
        RETURNING id""",
        tenant.tenant_id,
    )[0]
    body = {"project_id": project["id"], "title": "Fuel"}

    taken = await tenant.post("/v1/tasks", body | {"assignee_id": tenant.owner_id})
    path = taken.headers["location"]

    assert taken.status_code == 201
    for id in (str(uuid4()), str(deleted), other_tenant.owner_id, project["id"]):
        created = await tenant.post("/v1/tasks", {**body, "title": "Fly", "assignee_id": id})
        updated = await tenant.patch(path, {"assignee_id": id})
        for refused in (created, updated):
            assert_refused(refused, 422, "invalid", {"/assignee_id": "unknown_reference"})
    assert (await tenant.get(path)).json() == taken.json()


async def test_each_of_several_bad_references_is_told(tenant, project):
    path = (await tenant.post("/v1/tasks", {"project_id": project["id"], "title": "Fuel"})).headers[
        "location"
    ]
    gone = await tenant.create("projects", name="Gone")
    await tenant.delete(f"/v1/projects/{gone['id']}")
    body = {"project_id": gone["id"], "title": "Fly", "assignee_id": str(uuid4())}

    created = await tenant.post("/v1/tasks", body)
    updated = await tenant.patch(path, body)
    batched = await tenant.post("/v1/tasks/batch", {"items": [{"op": "create", "data": body}] * 2})

    both = {"/project_id": "unknown_reference", "/assignee_id": "unknown_reference"}
    assert_refused(created, 422, "invalid", both)
    assert_refused(updated, 422, "invalid", both)
    assert_refused(
        batched, 422, "invalid", {f"/items/0/data{pointer}": code for pointer, code in both.items()}
    )


async def test_children_of_a_deleted_project_stay_readable_but_no_new_ones_come(tenant, project):
    row = await tenant.create("tasks", project_id=project["id"], title="Fuel")
    path = f"/v1/tasks/{row['id']}"
    await tenant.delete(f"/v1/projects/{project['id']}")

    refused = await tenant.post("/v1/tasks", {"project_id": project["id"], "title": "Fly"})
    changed = await tenant.patch(path, {"status": "done"})

    assert_refused(refused, 422, "invalid", {"/project_id": "unknown_reference"})
    assert changed.status_code == 200
    assert (await tenant.get(path)).json() == changed.json()
    assert [item["id"] for item in (await tenant.get("/v1/tasks")).json()["items"]] == [row["id"]]


async def test_task_is_restored_only_while_its_project_lives(tenant, project):
    row = await tenant.create("tasks", project_id=project["id"], title="Fuel")
    path, parent = f"/v1/tasks/{row['id']}", f"/v1/projects/{project['id']}"
    await tenant.delete(path)
    await tenant.delete(parent)

    without_parent = await tenant.post(f"{path}/restore")
    await tenant.post(f"{parent}/restore")
    with_parent = await tenant.post(f"{path}/restore")

    assert_refused(without_parent, 409, "parent_gone")
    assert with_parent.status_code == 200
    assert with_parent.json()["deleted_at"] is None


async def test_task_is_not_restored_beside_another_of_its_title(tenant, project):
    row = await tenant.create("tasks", project_id=project["id"], title="Fuel")
    path = f"/v1/tasks/{row['id']}"
    await tenant.delete(path)
    successor = await tenant.create("tasks", project_id=project["id"], title="Fuel")

    while_taken = await tenant.post(f"{path}/restore")
    await tenant.patch(f"/v1/tasks/{successor['id']}", {"title": "Fly"})
    while_free = await tenant.post(f"{path}/restore")

    taken = {"/project_id": "taken", "/title": "taken"}
    assert_refused(while_taken, 409, "already_exists", taken)
    assert while_free.status_code == 200


async def test_hard_delete_of_a_project_takes_its_tasks_and_no_others(tenant, project):
    other = await tenant.create("projects", name="Anvil")
    live, deleted = [
        await tenant.create("tasks", project_id=project["id"], title=title) for title in "ab"
    ]
    kept = await tenant.create("tasks", project_id=other["id"], title="Kept")
    await tenant.delete(f"/v1/tasks/{deleted['id']}")

    answer = await tenant.delete(f"/v1/projects/{project['id']}?hard=true")

    assert answer.status_code == 204
    assert (await tenant.get("/v1/tasks?deleted=include")).json()["items"] == [kept]
    assert_refused(await tenant.get(f"/v1/tasks/{live['id']}"), 404, "not_found")
    assert_refused(await tenant.post(f"/v1/tasks/{deleted['id']}/restore"), 404, "not_found")


async def test_permission_for_one_resource_opens_no_other(tenant, project, member_with):
    body = {"project_id": project["id"], "title": "Fuel"}
    caller = member_with(tenant, permissions=["tasks:read", "tasks:write"])

    created = await caller.post("/v1/tasks", body)
    read = await caller.get("/v1/projects")
    purged = await caller.delete(f"{created.headers['location']}?hard=true")

    assert created.status_code == 201
    assert assert_refused(read, 403, "permission_denied")["permission"] == "projects:read"
    assert assert_refused(purged, 403, "permission_denied")["permission"] == "tasks:purge"
    assert (await tenant.get(created.headers["location"])).status_code == 200


async def test_child_of_a_deleted_project_can_be_written_back_whole(tenant, project):
    task = await tenant.create("tasks", project_id=project["id"], title="Fuel")
    other = await tenant.create("projects", name="Other")
    for parent in (project, other):
        await tenant.delete(f"/v1/projects/{parent['id']}")
    whole = {"project_id": project["id"], "title": "More fuel", "assignee_id": None}

    kept = await tenant.patch(f"/v1/tasks/{task['id']}", whole)
    moved = await tenant.patch(f"/v1/tasks/{task['id']}", {"project_id": other["id"]})

    assert (kept.status_code, kept.json()["title"]) == (200, "More fuel")
    assert_refused(moved, 422, "invalid", {"/project_id": "unknown_reference"})
