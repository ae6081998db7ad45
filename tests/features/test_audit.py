"""The audit log: each change leaves one true entry, whichever door it came through."""

import asyncio
from contextlib import contextmanager
from hashlib import sha256

import psycopg
import pytest
from psycopg import sql
from refusals import assert_refused

from saas.db.roles import APP

BOOKKEEPING = {"version", "created_at", "created_by", "updated_at", "updated_by"}


@contextmanager
def app_role(postgres, tenant=None, actor=None):
    """A transaction of the app's own role, as a console or a job might open one."""
    with psycopg.connect(postgres.dsn(APP)) as connection:
        for name, value in (("tenant_id", tenant and tenant.tenant_id), ("actor", actor)):
            if value:
                setting = sql.SQL("SET LOCAL app.{} = {}")
                connection.execute(setting.format(sql.Identifier(name), sql.Literal(value)))
        yield connection


async def entries(caller, query=""):
    answer = await caller.get(f"/v1/audit?limit=100&{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


async def test_history_tells_each_change_with_old_and_new_values(tenant):
    ids = ("made", "changed", "deleted", "restored")
    made, changed, deleted, restored = ({"X-Request-ID": id} for id in ids)
    values = {"name": "Rocket", "budget_cents": 5}
    row = (await tenant.post("/v1/projects", values, headers=made)).json()
    path = f"/v1/projects/{row['id']}"
    change = {"name": "Anvil", "budget_cents": None, "is_active": True}
    await tenant.patch(path, change, headers=changed)
    await tenant.delete(path, headers=deleted)
    await tenant.post(f"{path}/restore", headers=restored)

    history = (await tenant.get(f"{path}/history")).json()["items"]

    key = f"key:{tenant.body['api_key']['id']}"
    assert [entry["action"] for entry in history] == ["restore", "soft_delete", "update", "insert"]
    assert [entry["request_id"] for entry in history] == [*reversed(ids)]
    for entry in history:
        assert entry.keys() == {
            "id",
            "at",
            "actor",
            "request_id",
            "ip",
            "action",
            "entity",
            "entity_id",
            "changes",
        }
        assert (entry["actor"], entry["ip"]) == (key, "127.0.0.1")
        assert (entry["entity"], entry["entity_id"]) == ("projects", row["id"])
    assert history[3]["at"] == row["created_at"]
    times = [entry["at"] for entry in history]
    assert times == sorted(times, reverse=True)
    restore, soft_delete, update, insert = (entry["changes"] for entry in history)
    assert update == {
        "name": {"old": "Rocket", "new": "Anvil"},
        "budget_cents": {"old": 5, "new": None},
    }
    own = {name: value for name, value in insert.items() if name not in BOOKKEEPING}
    assert own == {
        "name": {"old": None, "new": "Rocket"},
        "budget_cents": {"old": None, "new": 5},
        "is_active": {"old": None, "new": True},
    }
    assert soft_delete.keys() == restore.keys() == {"deleted_at", "deleted_by"}
    assert soft_delete["deleted_by"] == {"old": None, "new": key}
    assert restore["deleted_by"] == {"old": key, "new": None}


async def test_history_ends_with_the_row_but_the_audit_log_keeps_it(tenant):
    row = await tenant.create("projects", name="Rocket", description="Red")
    path = f"/v1/projects/{row['id']}"
    await tenant.delete(path)
    of_deleted = (await tenant.get(f"{path}/history")).json()["items"]

    await tenant.delete(f"{path}?hard=true")

    assert [entry["action"] for entry in of_deleted] == ["soft_delete", "insert"]
    assert_refused(await tenant.get(f"{path}/history"), 404, "not_found")
    kept = await entries(tenant, f"entity=projects&entity_id={row['id']}")
    assert [entry["action"] for entry in kept] == ["delete", "soft_delete", "insert"]
    assert kept[1:] == of_deleted
    assert kept[0]["changes"]["name"] == {"old": "Rocket", "new": None}
    assert kept[0]["changes"]["description"] == {"old": "Red", "new": None}


async def test_refused_change_leaves_no_entry(tenant):
    row = await tenant.create("projects", name="Rocket")
    await tenant.create("projects", name="Anvil")
    path = f"/v1/projects/{row['id']}"
    before = await entries(tenant)

    answers = [
        await tenant.patch(path, {"budget_cents": 1}, headers={"If-Match": '"7"'}),
        await tenant.patch(path, {"budget_cents": 1, "version": 7}),
        await tenant.patch(path, {"name": "Anvil"}),
        await tenant.patch(path, {"name": "R"}),
        await tenant.patch(path, {"name": "Rocket"}),
        await tenant.post("/v1/projects", {"name": "Anvil"}),
        await tenant.post(f"{path}/restore"),
    ]

    assert [answer.status_code for answer in answers] == [412, 409, 409, 422, 200, 409, 409]
    assert await entries(tenant) == before


async def test_purged_children_are_logged_one_by_one_under_the_same_request(tenant):
    project = await tenant.create("projects", name="Rocket")
    tasks = [
        await tenant.create("tasks", project_id=project["id"], title=title)
        for title in ("Fuel", "Fly", "Land")
    ]
    await tenant.delete(f"/v1/tasks/{tasks[0]['id']}")

    path = f"/v1/projects/{project['id']}?hard=true"
    await tenant.delete(path, headers={"X-Request-ID": "purge"})

    logged = await entries(tenant, "action=delete")
    assert {(entry["entity"], entry["entity_id"]) for entry in logged} == {
        ("projects", project["id"]),
        *(("tasks", task["id"]) for task in tasks),
    }
    assert len(logged) == 4
    assert {(entry["actor"], entry["request_id"]) for entry in logged} == {
        (f"key:{tenant.body['api_key']['id']}", "purge")
    }
    titles = {e["changes"]["title"]["old"] for e in logged if e["entity"] == "tasks"}
    assert titles == {"Fuel", "Fly", "Land"}


async def test_member_is_named_as_the_actor(tenant, member_with):
    await member_with(tenant).create("projects", name="Rocket")

    (entry,) = await entries(tenant, "entity=projects")

    assert entry["actor"] == f"member:{tenant.owner_id}"


async def test_sql_of_the_app_role_is_logged_row_by_row(tenant, postgres):
    rows = [await tenant.create("projects", name=name) for name in ("Rocket", "Anvil")]

    with app_role(postgres, tenant, "system:console") as connection:
        connection.execute("UPDATE projects SET budget_cents = 7")
        connection.execute(
            "INSERT INTO projects (tenant_id, name, created_by, updated_by)"
            " SELECT %s, 'Bulk ' || n, 'x', 'x' FROM generate_series(1, 3) AS n",
            [tenant.tenant_id],
        )
        connection.execute("DELETE FROM projects WHERE name = 'Anvil'")

    logged = await entries(tenant, "actor=system:console")
    assert [entry["action"] for entry in logged] == ["delete", *["insert"] * 3, *["update"] * 2]
    assert {entry["entity_id"] for entry in logged[4:]} == {row["id"] for row in rows}
    assert logged[5]["changes"] == {"budget_cents": {"old": None, "new": 7}}
    assert {(entry["request_id"], entry["ip"]) for entry in logged} == {(None, None)}


async def test_sql_without_an_actor_is_logged_under_its_role(tenant, postgres):
    await tenant.create("projects", name="Rocket")

    with app_role(postgres, tenant) as connection:
        connection.execute("UPDATE projects SET budget_cents = 7")

    (entry,) = await entries(tenant, "action=update")
    assert entry["actor"] == "role:saas_app"


async def test_sql_that_changes_nothing_or_is_rolled_back_leaves_no_entry(tenant, postgres):
    await tenant.create("projects", name="Rocket")
    before = await entries(tenant)

    with app_role(postgres, tenant, "system:console") as connection:
        connection.execute("UPDATE projects SET name = name, budget_cents = budget_cents")
        connection.execute("UPDATE projects SET version = version + 1, updated_at = now()")
    with app_role(postgres, tenant, "system:console") as connection:
        connection.execute("UPDATE projects SET budget_cents = 7")
        connection.rollback()

    assert await entries(tenant) == before


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO audit_log SELECT * FROM audit_log",
        "UPDATE audit_log SET actor = 'nobody'",
        "DELETE FROM audit_log",
        "TRUNCATE audit_log",
    ],
)
async def test_app_role_reads_the_log_but_never_writes_it(tenant, postgres, statement):
    before = await entries(tenant)

    with app_role(postgres, tenant, "system:console") as connection:
        (count,) = connection.execute("SELECT count(*) FROM audit_log").fetchone()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)

    assert count == len(before) == 3
    assert await entries(tenant) == before


async def test_secret_of_a_key_never_shows_in_the_log(tenant, in_tenant):
    ((secret_hash,),) = in_tenant(tenant, "SELECT secret_hash FROM api_keys")
    in_tenant(
        tenant,
        "INSERT INTO api_keys (tenant_id, name, prefix, secret_hash, role, created_by, updated_by)"
        " VALUES (%s, 'Second', 'sk_second', sha256('old'), 'viewer', 'x', 'x')",
        tenant.tenant_id,
    )
    in_tenant(tenant, "UPDATE api_keys SET secret_hash = sha256('new') WHERE name = 'Second'")
    in_tenant(tenant, "DELETE FROM api_keys WHERE name = 'Second'")

    answer = await tenant.get("/v1/audit?entity=api_keys")

    logged = answer.json()["items"]
    assert [entry["action"] for entry in logged] == ["delete", "update", "insert", "insert"]
    assert logged[0]["changes"]["secret_hash"] == {"old": "***", "new": None}
    for entry in logged[2:]:
        assert entry["changes"]["secret_hash"] == {"old": None, "new": "***"}
    for secret in (secret_hash, sha256(b"old").digest(), sha256(b"new").digest()):
        assert secret.hex() not in answer.text
    assert tenant.key[-43:] not in answer.text


async def test_onboarding_is_the_first_page_of_the_log(tenant):
    logged = await entries(tenant, "sort=id")

    assert [(entry["action"], entry["entity"]) for entry in logged] == [
        ("insert", "tenants"),
        ("insert", "members"),
        ("insert", "api_keys"),
    ]
    assert {entry["actor"] for entry in logged} == {"platform:key"}
    assert logged[0]["entity_id"] == tenant.tenant_id
    assert logged[1]["changes"]["role"] == {"old": None, "new": "owner"}


async def test_log_is_filtered_by_each_of_its_fields(tenant, member_with):
    project = await tenant.create("projects", name="Rocket")
    path = f"/v1/projects/{project['id']}"
    body = {"project_id": project["id"], "title": "Fuel"}
    await member_with(tenant).post("/v1/tasks", body, headers={"X-Request-ID": "by-member"})
    await tenant.patch(path, {"budget_cents": 1})
    await tenant.delete(path)
    deleted, changed, task, created, *onboarding = await entries(tenant)
    key, member = f"key:{tenant.body['api_key']['id']}", f"member:{tenant.owner_id}"
    at = changed["at"]

    for query, expected in {
        "entity=projects": [deleted, changed, created],
        "entity__in=tasks,projects": [deleted, changed, task, created],
        f"entity_id={project['id']}": [deleted, changed, created],
        f"actor={key}": [deleted, changed, created],
        f"actor={member}": [task],
        "actor__startswith=member:": [task],
        "action=soft_delete": [deleted],
        "action__in=update,soft_delete&entity=projects": [deleted, changed],
        f"at={at}": [changed],
        f"at__gte={at}": [deleted, changed],
        f"at__lt={at}": [task, created, *onboarding],
        "request_id=by-member": [task],
        "request_id=nothing": [],
    }.items():
        assert await entries(tenant, query) == expected, query
    for query in ("colour=red", "at=yesterday", "entity_id=x", "action__regex=.", "q=Rocket"):
        assert_refused(await tenant.get(f"/v1/audit?{query}"), 400, "bad_request")


async def test_log_is_walked_by_its_links_newest_first(tenant):
    for number in range(5):
        await tenant.create("projects", name=f"p{number}")
    expected = await entries(tenant)

    answer = await tenant.get("/v1/audit?limit=3&include_total=true")
    walked = answer.json()["items"]
    for _ in range(2):
        answer = await tenant.get(answer.links["next"]["url"])
        walked += answer.json()["items"]

    assert len(expected) == answer.json()["total"] == 8
    assert walked == expected
    assert answer.links.keys() == {"prev"}


async def test_no_tenant_reads_of_another_and_no_member_without_the_right(
    tenant, other_tenant, member_with, postgres
):
    row = await other_tenant.create("projects", name="Foreign")

    assert [e["entity"] for e in await entries(other_tenant, "entity=projects")] == ["projects"]
    assert await entries(tenant, "entity=projects") == []
    assert await entries(tenant, f"entity_id={row['id']}") == []
    assert len(await entries(member_with(tenant, role="admin"))) == 3
    refused = await member_with(tenant, role="member").get("/v1/audit")
    assert assert_refused(refused, 403, "permission_denied")["permission"] == "audit:read"
    with app_role(postgres) as connection:
        assert connection.execute("SELECT count(*) FROM audit_log").fetchone() == (0,)


async def test_parallel_changes_of_one_row_are_logged_as_an_unbroken_chain(tenant):
    row = await tenant.create("projects", name="Rocket", budget_cents=0)
    path = f"/v1/projects/{row['id']}"

    await asyncio.gather(*(tenant.patch(path, {"budget_cents": n}) for n in range(1, 16)))

    history = (await tenant.get(f"{path}/history?action=update&limit=100")).json()["items"]
    steps = [entry["changes"]["budget_cents"] for entry in reversed(history)]
    assert [step["old"] for step in steps] == [0, *(step["new"] for step in steps[:-1])]
    assert {step["new"] for step in steps} == {*range(1, 16)}
