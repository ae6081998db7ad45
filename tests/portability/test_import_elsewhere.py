"""A tenant moves into another installation with its ids, and is what it was."""

from typing import Any
from uuid import UUID

import httpx
import pytest
from archives import digests_of, manifest_of, with_manifest, with_rows

from saas.db.models import tenant_tables


def bearer(credential: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {credential}"}


async def test_moved_tenant_has_the_same_rows_and_the_same_digests(
    lived_in: Any, export: Any, bring: Any, elsewhere: httpx.AsyncClient, here: Any, there: Any
) -> None:
    archive = await export(lived_in.tenant_id)

    answer = await bring(elsewhere, archive)

    body, manifest = answer.json(), manifest_of(archive)
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/v1/admin/tenants/{lived_in.tenant_id}"
    assert (body["verified"], body["dry_run"]) == (True, False)
    assert body["tenant"] == lived_in.body["tenant"]
    assert body["tables"] == {
        entry["name"]: {
            "rows": entry["rows"],
            "inserted": entry["rows"],
            "updated": 0,
            "skipped": 0,
        }
        for entry in manifest["tables"]
    }
    again = await export(lived_in.tenant_id, elsewhere)
    assert digests_of(again) == digests_of(archive)
    assert manifest_of(again)["digest"] == manifest["digest"]
    assert manifest_of(again)["tenant"] == manifest["tenant"]
    source, moved = here.of(lived_in.tenant_id), there.of(lived_in.tenant_id)
    assert {name: rows for name, rows in moved.items() if name != "audit_log"} == {
        name: rows for name, rows in source.items() if name != "audit_log"
    }


async def test_moved_keys_history_and_ways_back_go_on_working(
    lived_in: Any, export: Any, bring: Any, elsewhere: httpx.AsyncClient
) -> None:
    projects = (await lived_in.get("/v1/projects?sort=name")).json()["items"]
    changed = f"/v1/projects/{projects[-1]['id']}"
    history = (await lived_in.get(f"{changed}/history")).json()
    log = (await lived_in.get("/v1/audit?limit=100&sort=-id")).json()["items"]

    await bring(elsewhere, await export(lived_in.tenant_id))

    key = bearer(lived_in.key)
    assert (await elsewhere.get("/v1/projects?sort=name", headers=key)).json()["items"] == projects
    assert (await elsewhere.get(f"{changed}/history", headers=key)).json() == history
    moved = (await elsewhere.get("/v1/audit?limit=100&sort=-id", headers=key)).json()["items"]
    assert [entry for entry in moved if entry["action"] != "import"] == log
    first = history["items"][-1]
    reverted = await elsewhere.post(f"{changed}/revert", json={"to": first["id"]}, headers=key)
    assert reverted.json()["description"] is None
    was = await elsewhere.get(f"{changed}?as_of={history['items'][0]['at']}", headers=key)
    assert was.json()["description"] == projects[-1]["description"]


async def test_tenant_reads_in_its_log_that_it_was_brought_in(
    lived_in: Any, export: Any, bring: Any, elsewhere: httpx.AsyncClient
) -> None:
    archive = await export(lived_in.tenant_id)

    await bring(elsewhere, archive)

    query = "/v1/audit?entity=tenants&action=import"
    (entry,) = (await elsewhere.get(query, headers=bearer(lived_in.key))).json()["items"]
    assert (entry["actor"], entry["entity_id"]) == ("platform:key", lived_in.tenant_id)
    assert entry["ip"] == "127.0.0.1"
    assert entry["changes"]["digest"] == {"old": None, "new": manifest_of(archive)["digest"]}
    assert entry["changes"]["slug"]["new"] == lived_in.body["tenant"]["slug"]


async def test_entries_of_imports_travel_on_beside_the_log(
    lived_in: Any, export: Any, bring: Any, elsewhere: httpx.AsyncClient, there: Any
) -> None:
    await bring(elsewhere, await export(lived_in.tenant_id))
    once = await export(lived_in.tenant_id, elsewhere)

    slug = "moved-" + lived_in.body["tenant"]["slug"]
    answer = await bring(elsewhere, once, ids="new", slug=slug)
    twice = await export(answer.json()["tenant"]["id"], elsewhere)

    (first,) = manifest_of(once)["imports"]
    assert (first["entity"], first["action"]) == ("tenants", "import")
    assert len(manifest_of(twice)["imports"]) == 2
    counts = {entry["name"]: entry["rows"] for entry in manifest_of(twice)["tables"]}
    assert counts["audit_log"] == len(there.of(lived_in.tenant_id)["audit_log"]) - 1


async def test_members_come_into_the_directory_each_as_a_person_of_its_own(
    lived_in: Any, export: Any, bring: Any, elsewhere: httpx.AsyncClient, here: Any, there: Any
) -> None:
    await bring(elsewhere, await export(lived_in.tenant_id))

    listed = there(
        "SELECT member_id, person_id FROM memberships WHERE tenant = %s", lived_in.tenant_id
    )
    live = there(
        "SELECT id FROM members WHERE tenant_id = %s AND deleted_at IS NULL", lived_in.tenant_id
    )
    assert sorted(member for member, _ in listed) == sorted(id for (id,) in live)
    known = {person for (person,) in here("SELECT person_id FROM memberships")}
    persons = {person for _, person in listed}
    assert len(persons) == len(listed) == 2
    assert not persons & known


async def test_what_belongs_to_one_installation_stays_there(
    lived_in: Any, export: Any, bring: Any, elsewhere: httpx.AsyncClient, here: Any, there: Any
) -> None:
    id = lived_in.tenant_id
    here("INSERT INTO row_quotas (tenant_id, entity, used) VALUES (%s, 'projects', 3)", id)
    here(
        "INSERT INTO access_grants "
        "(tenant_id, operator, reason, may_write, secret_hash, expires_at) "
        "VALUES (%s, 'ops', 'x', true, 'x', now() + '1 day')",
        id,
    )
    here("INSERT INTO idempotency_keys VALUES (%s, uuidv7(), 'x', 'x', now() + '1 day')", id)
    here(
        "WITH one AS (INSERT INTO imports (tenant_id, resource, format, mode, on_conflict, "
        "dry_run, source, status, worker, started_by) VALUES (%s, 'projects', 'csv', 'partial', "
        "'error', false, '{}', 'receiving', uuidv7(), 'x') RETURNING tenant_id, id), "
        "piece AS (INSERT INTO import_chunks (tenant_id, import_id, number, data) "
        "SELECT tenant_id, id, 0, '' FROM one) "
        "INSERT INTO import_errors (tenant_id, import_id, line, code, reason, source) "
        "SELECT tenant_id, id, 1, 'x', 'x', '' FROM one",
        id,
    )

    await bring(elsewhere, await export(id))

    rows = there.of(id)
    left = {table.name for table in tenant_tables() if not rows[table.name]}
    assert left == {
        *("row_quotas", "access_grants", "idempotency_keys"),
        *("imports", "import_chunks", "import_errors"),
        # Their entries come one by one.
        "audit_sets",
    }


@pytest.mark.parametrize("status", ["active", "suspended"])
async def test_who_was_suspended_comes_in_suspended(
    tenant: Any,
    export: Any,
    bring: Any,
    elsewhere: httpx.AsyncClient,
    here: Any,
    there: Any,
    status: str,
) -> None:
    here.change(
        tenant.tenant_id,
        "UPDATE tenants SET status = %s, purge_at = now(), deletion = '{}' WHERE id = %s",
        *(status, tenant.tenant_id),
    )

    answer = await bring(elsewhere, await export(tenant.tenant_id))

    assert answer.json()["tenant"]["status"] == status
    end = there("SELECT purge_at, deletion FROM tenants WHERE id = %s", tenant.tenant_id)
    assert end == [(None, None)]


async def test_tenant_takes_its_limits_along_unless_a_plan_is_named(
    tenant: Any,
    onboard: Any,
    export: Any,
    bring: Any,
    elsewhere: httpx.AsyncClient,
    here: Any,
    there: Any,
) -> None:
    second = await onboard()
    for one in (tenant, second):
        overrides = "UPDATE tenants SET limit_overrides = '{\"members\": 7}' WHERE id = %s"
        here.change(one.tenant_id, overrides, one.tenant_id)

    kept = await bring(elsewhere, await export(tenant.tenant_id))
    named = await bring(elsewhere, await export(second.tenant_id), plan="free")

    assert kept.json()["tenant"]["plan"] == "enterprise"
    assert named.json()["tenant"]["plan"] == "free"
    overrides = "SELECT limit_overrides FROM tenants WHERE id = %s"
    assert there(overrides, tenant.tenant_id) == [({"members": 7},)]
    assert there(overrides, second.tenant_id) == [(None,)]


async def test_moved_tenant_is_held_to_its_quota_of_rows(
    lived_in: Any, export: Any, bring: Any, elsewhere: httpx.AsyncClient, here: Any
) -> None:
    """Counted anew: three projects are live, and the deleted ones do not count."""
    id, key = lived_in.tenant_id, bearer(lived_in.key)
    here("INSERT INTO row_quotas (tenant_id, entity, used) VALUES (%s, 'projects', 99)", id)
    overrides = "UPDATE tenants SET limit_overrides = '{\"rows\": 4}' WHERE id = %s"
    here.change(id, overrides, id)

    await bring(elsewhere, await export(id))

    names = ("Fits", "Does not")
    made = [
        await elsewhere.post("/v1/projects", json={"name": name}, headers=key) for name in names
    ]
    assert [answer.status_code for answer in made] == [201, 429]
    assert made[1].json()["code"] == "quota_exceeded"


async def test_plan_that_is_unknown_there_is_refused_until_another_is_named(
    tenant: Any, export: Any, bring: Any, elsewhere: httpx.AsyncClient, there: Any
) -> None:
    exported = await export(tenant.tenant_id)
    archive = with_manifest(exported, lambda m: m["tenant"].update(plan="only-there"))
    before = there.everything()

    refused = await bring(elsewhere, archive)
    misnamed = await bring(elsewhere, archive, plan="no-such-plan")
    stored = there.everything()
    named = await bring(elsewhere, archive, plan="pro")

    for answer in (refused, misnamed):
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == "/plan"
    assert stored == before
    assert (named.status_code, named.json()["tenant"]["plan"]) == (201, "pro")


async def test_archive_of_before_a_column_was_added_takes_its_default(
    lived_in: Any, export: Any, bring: Any, elsewhere: httpx.AsyncClient, there: Any
) -> None:
    def drop(archive: bytes, table: str, column: str) -> bytes:
        older = with_rows(archive, table, lambda row: row.pop(column))

        def forget(manifest: dict[str, Any]) -> None:
            entry = next(entry for entry in manifest["tables"] if entry["name"] == table)
            entry["columns"] = [c for c in entry["columns"] if c["name"] != column]

        return with_manifest(older, forget)

    archive = await export(lived_in.tenant_id)
    before = there.everything()

    refused = await bring(elsewhere, drop(archive, "projects", "name"))
    stored = there.everything()
    answer = await bring(
        elsewhere, drop(drop(archive, "projects", "is_active"), "members", "tokens_valid_from")
    )

    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_archive")
    assert "projects lacks the column name" in refused.json()["detail"]
    assert stored == before
    assert answer.status_code == 201, answer.text
    arrived = there("SELECT is_active FROM projects WHERE tenant_id = %s", lived_in.tenant_id)
    assert set(arrived) == {(True,)}


async def test_repeat_with_the_same_idempotency_key_imports_once(
    lived_in: Any, export: Any, bring: Any, elsewhere: httpx.AsyncClient, there: Any
) -> None:
    archive = await export(lived_in.tenant_id)
    key = f"move-{lived_in.tenant_id}"

    first = await bring(elsewhere, archive, key=key)
    stored = there.everything()
    again = await bring(elsewhere, archive, key=key)
    other = await bring(elsewhere, archive + b"x", key=key)
    dry = await bring(
        elsewhere, archive, key=f"{key}-dry", dry_run="true", ids="new", slug="dry-run"
    )

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert (dry.status_code, dry.json()["dry_run"]) == (200, True)
    assert there.everything() == stored


async def test_token_of_the_moved_tenant_acts_on_it_alone(
    lived_in: Any, export: Any, bring: Any, elsewhere: httpx.AsyncClient, there: Any
) -> None:
    await bring(elsewhere, await export(lived_in.tenant_id))

    made = await elsewhere.post(
        "/v1/projects", json={"name": "After"}, headers=bearer(lived_in.key)
    )

    assert made.status_code == 201
    entry = there(
        "SELECT tenant_id, action FROM audit_log WHERE entity_id = %s", UUID(made.json()["id"])
    )
    assert entry == [(UUID(lived_in.tenant_id), "insert")]
