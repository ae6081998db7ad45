"""`POST /v1/projects` with its tasks: one unit of work."""

from uuid import uuid4

from refusals import assert_refused


async def count(tenant, resource):
    return (await tenant.get(f"/v1/{resource}?include_total=true")).json()["total"]


async def test_project_comes_with_its_tasks(tenant):
    tasks = [{"title": "Fuel"}, {"title": "Fins", "status": "done", "priority": 4}]

    answer = await tenant.post("/v1/projects", {"name": "Rocket", "tasks": tasks})

    assert answer.status_code == 201, answer.text
    row = answer.json()
    made = row.pop("tasks")
    assert answer.headers["location"] == f"/v1/projects/{row['id']}"
    assert (await tenant.get(f"/v1/projects/{row['id']}")).json() == row
    assert [task["title"] for task in made] == ["Fuel", "Fins"]
    assert {task["project_id"] for task in made} == {row["id"]}
    assert made[0]["status"] == "todo"
    assert tasks[1].items() <= made[1].items()
    for task in made:
        assert (await tenant.get(f"/v1/tasks/{task['id']}")).json() == task


async def test_without_tasks_there_is_no_word_of_them(tenant):
    plain = await tenant.post("/v1/projects", {"name": "Plain"})
    empty = await tenant.post("/v1/projects", {"name": "Empty", "tasks": []})

    assert "tasks" not in plain.json()
    assert empty.json()["tasks"] == []


async def test_one_bad_task_and_nothing_is_created(tenant):
    good = {"title": "Good"}
    await tenant.create("projects", name="Taken")
    for name, tasks, status, code, faults in (
        ("Bad", [good, {"title": ""}], 422, "invalid", {"/tasks/1/title": "too_short"}),
        ("Bad", [{"title": "x", "project_id": str(uuid4())}], 422, "invalid", None),
        ("Bad", "none", 422, "invalid", {"/tasks": "wrong_type"}),
        (
            "Bad",
            [good, {"title": "x", "assignee_id": str(uuid4())}],
            422,
            "invalid",
            {"/tasks/1/assignee_id": "unknown_reference"},
        ),
        (
            "Bad",
            [good, good],
            409,
            "already_exists",
            {"/tasks/1/title": "taken"},
        ),
        ("Taken", [good], 409, "already_exists", {"/name": "taken"}),
    ):
        refused = await tenant.post("/v1/projects", {"name": name, "tasks": tasks})
        assert_refused(refused, status, code, faults)

    assert (await count(tenant, "projects"), await count(tenant, "tasks")) == (1, 0)
    entries = (await tenant.get("/v1/audit?entity__in=projects,tasks")).json()["items"]
    assert len(entries) == 1


async def test_children_need_their_own_permission(tenant, member_with):
    narrow = member_with(tenant, permissions=["projects:write"])

    refused = await narrow.post("/v1/projects", {"name": "Two", "tasks": [{"title": "x"}]})

    assert_refused(refused, 403, "permission_denied")
    assert (await narrow.post("/v1/projects", {"name": "Two"})).status_code == 201
