"""A tenant's own figures: right, also while others write."""

import asyncio
import csv
import io
from datetime import UTC, datetime
from uuid import UUID

from refusals import assert_refused

from saas.context import Principal, acting_as
from saas.db.database import Database
from saas.db.transaction import transaction
from saas.features.projects import projects
from saas.features.tasks import tasks

NOTHING = {"total": 0, "active": 0, "deleted": 0}


async def figures(caller):
    answer = await caller.get("/v1/stats")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_new_tenant_has_an_owner_and_a_key_and_nothing_else(tenant):
    before = datetime.now(UTC)

    found = await figures(tenant)

    assert found["tenant_id"] == tenant.tenant_id
    assert found["resources"] == {"projects": NOTHING, "tasks": NOTHING}
    assert (found["members"], found["api_keys"]) == (1, 1)
    assert before <= datetime.fromisoformat(found["as_of"]) <= datetime.now(UTC)
    assert found["last_activity_at"] == tenant.body["tenant"]["created_at"]


async def test_figures_come_as_a_file_of_one_line_each(tenant):
    await tenant.create("projects", name="One")
    stats = await figures(tenant)

    answer = await tenant.get("/v1/stats", headers={"Accept": "text/csv"})

    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    head, *lines = csv.reader(io.StringIO(answer.text))
    assert head == ["figure", "value"]
    found = dict(lines)
    assert found["resources.projects.total"] == "1"
    assert found["storage_bytes"] == str(stats["storage_bytes"])
    assert found["tenant_id"] == tenant.tenant_id
    assert len(found) == 5 + 3 * len(stats["resources"]) + len(stats["requests"]) + 1


async def test_rows_count_as_total_active_and_deleted(tenant):
    rows = [
        await tenant.create("projects", name=f"p{number}", is_active=number > 0)
        for number in range(4)
    ]
    for number in range(3):
        await tenant.create("tasks", project_id=rows[0]["id"], title=f"t{number}")
    await tenant.delete(f"/v1/projects/{rows[0]['id']}")
    await tenant.delete(f"/v1/projects/{rows[1]['id']}")
    await tenant.patch(f"/v1/projects/{rows[2]['id']}", {"is_active": False})

    assert (await figures(tenant))["resources"] == {
        "projects": {"total": 2, "active": 1, "deleted": 2},
        "tasks": {"total": 3, "active": 3, "deleted": 0},
    }

    await tenant.post(f"/v1/projects/{rows[1]['id']}/restore")
    await tenant.delete(f"/v1/projects/{rows[0]['id']}?hard=true")

    assert (await figures(tenant))["resources"] == {
        "projects": {"total": 3, "active": 2, "deleted": 0},
        "tasks": NOTHING,
    }


async def test_members_and_keys_that_are_gone_do_not_count(tenant, in_tenant):
    in_tenant(
        tenant,
        """INSERT INTO members (tenant_id, email, name, role, created_by, updated_by, deleted_at)
        SELECT %s, email, 'Name', 'member', 'x', 'x', gone
        FROM (VALUES ('a@x.test', NULL), ('b@x.test', now())) AS given (email, gone)""",
        tenant.tenant_id,
    )
    in_tenant(
        tenant,
        """INSERT INTO api_keys
          (tenant_id, name, prefix, secret_hash, role, created_by, updated_by,
           revoked_at, deleted_at)
        SELECT %s, name, name, sha256(name::bytea), 'viewer', 'x', 'x', revoked, gone
        FROM (VALUES ('a', NULL, NULL), ('b', now(), NULL), ('c', NULL, now()))
          AS given (name, revoked, gone)""",
        tenant.tenant_id,
    )

    found = await figures(tenant)

    assert (found["members"], found["api_keys"]) == (2, 2)


async def test_last_activity_is_the_last_change_and_no_read(tenant):
    row = await tenant.create("projects", name="Rocket")
    changed = (await tenant.patch(f"/v1/projects/{row['id']}", {"budget_cents": 1})).json()
    await tenant.patch(f"/v1/projects/{row['id']}", {"budget_cents": 1})
    await tenant.get("/v1/projects")

    assert (await figures(tenant))["last_activity_at"] == changed["updated_at"]


async def test_figures_need_their_own_permission(tenant, member_with):
    assert (await member_with(tenant, role="viewer").get("/v1/stats")).status_code == 200

    refused = await member_with(tenant, permissions=["projects:read"]).get("/v1/stats")

    assert assert_refused(refused, 403, "permission_denied")["permission"] == "stats:read"


async def test_another_tenants_rows_change_no_figure(tenant, other_tenant):
    await tenant.create("projects", name="Rocket")
    before = await figures(tenant)

    row = await other_tenant.create("projects", name="Rocket")
    await other_tenant.create("tasks", project_id=row["id"], title="Fuel")
    await other_tenant.delete(f"/v1/projects/{row['id']}")

    assert await figures(tenant) | {"as_of": before["as_of"]} == before
    assert (await figures(other_tenant))["resources"]["tasks"]["total"] == 1


async def _write_pairs(database, principal, number):
    """Six projects with one task each, always together; every second pair is deleted again."""
    with acting_as(principal):
        for turn in range(6):
            async with transaction(database):
                project = await projects.repository.create({"name": f"{number}-{turn}"})
                task = await tasks.repository.create({"project_id": project.id, "title": "Only"})
            if turn % 2:
                async with transaction(database):
                    await tasks.repository.delete(task.id)
                    await projects.repository.delete(project.id)


async def test_each_figure_is_one_snapshot_while_twenty_write(tenant, settings):
    principal = Principal(tenant_id=UUID(tenant.tenant_id), actor="system:test")
    urls = (settings.database_url, settings.platform_database_url)
    seen = []

    async with Database(*urls, size=8, acquire_timeout_seconds=20) as database:
        writing = asyncio.gather(*(_write_pairs(database, principal, n) for n in range(20)))
        while not writing.done():
            seen.append((await figures(tenant))["resources"])
        await writing
    final = (await figures(tenant))["resources"]

    written = {"total": 60, "active": 60, "deleted": 60}
    assert final == {"projects": written, "tasks": written}
    assert all(found["projects"] == found["tasks"] for found in seen)
    ever = [found["projects"]["total"] + found["projects"]["deleted"] for found in seen]
    assert ever == sorted(ever)
    assert len({*ever}) > 3, "no figure was taken while the writers ran"


async def test_each_figure_lies_between_the_writes_begun_and_the_writes_done(tenant):
    begun = done = 0
    seen = []

    async def write(number):
        nonlocal begun, done
        for turn in range(4):
            begun += 1
            await tenant.create("projects", name=f"{number}-{turn}")
            done += 1

    writing = asyncio.gather(*(write(number) for number in range(20)))
    while not writing.done():
        least = done
        total = (await figures(tenant))["resources"]["projects"]["total"]
        seen.append((least, total, begun))
    await writing

    assert all(least <= total <= most for least, total, most in seen)
    assert (await figures(tenant))["resources"]["projects"]["total"] == done == 80
