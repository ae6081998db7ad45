"""An archive comes back to a tenant that is there: what is refused, kept and overwritten."""

import asyncio
import io
import json
from typing import Any

import httpx
import psycopg
import pytest
from archives import with_rows

from saas.db.database import Database
from saas.db.transaction import platform_transaction
from saas.errors import Conflict, SaasError
from saas.portability.importing import import_tenant
from saas.portability.opened import OpenArchive
from saas.portability.outcome import Imported, Wish
from saas.settings import Settings


@pytest.fixture
async def changed(lived_in: Any, export: Any, here: Any) -> Any:
    """The archive of a tenant that has changed since: a row purged, one changed, one new."""
    archive = await export(lived_in.tenant_id)
    items = (await lived_in.get("/v1/projects?sort=name")).json()["items"]
    purged, edited, kept = (item["id"] for item in items)
    await lived_in.delete(f"/v1/projects/{purged}?hard=true")
    await lived_in.patch(f"/v1/projects/{edited}", {"name": "Edited since"})
    new = await lived_in.create("projects", name="New since")
    here.change(
        lived_in.tenant_id,
        "UPDATE api_keys SET revoked_at = now() WHERE tenant_id = %s",
        lived_in.tenant_id,
    )
    return archive, purged, edited, kept, new["id"]


def names_of(here: Any, tenant: Any) -> dict[str, str]:
    found = here("SELECT id::text, name FROM projects WHERE tenant_id = %s", tenant.tenant_id)
    return dict(found)


async def test_tenant_that_is_here_is_refused_unless_asked_otherwise(
    lived_in: Any, changed: Any, bring: Any, http: httpx.AsyncClient, here: Any
) -> None:
    archive = changed[0]
    before = here.everything()

    plain = await bring(http, archive)
    error = await bring(http, archive, on_conflict="error")
    renamed = await bring(http, archive, slug="another-slug")

    for refused in (plain, error, renamed):
        assert (refused.status_code, refused.json()["code"]) == (409, "already_exists")
        assert "on_conflict" in refused.json()["detail"]
    assert here.everything() == before


async def test_skip_brings_back_what_is_missing_and_leaves_the_rest(
    lived_in: Any, changed: Any, bring: Any, http: httpx.AsyncClient, here: Any
) -> None:
    archive, purged, edited, kept, new = changed
    before = here.of(lived_in.tenant_id)

    answer = await bring(http, archive, on_conflict="skip")

    assert answer.status_code == 201, answer.text
    tables = answer.json()["tables"]
    assert tables["projects"] == {"rows": 3, "inserted": 1, "updated": 0, "skipped": 2}
    # It was purged with its project.
    assert tables["tasks"]["inserted"] == 1
    assert tables["audit_log"]["skipped"] == tables["audit_log"]["rows"]
    assert names_of(here, lived_in) == {
        purged: "Project 0",
        edited: "Edited since",
        kept: "Project 2",
        new: "New since",
    }
    after = here.of(lived_in.tenant_id)
    assert set(before["audit_log"]) < set(after["audit_log"])
    added = [json.loads(row) for row in set(after["audit_log"]) - set(before["audit_log"])]
    assert {(row["actor"], row["action"]) for row in added} == {("platform:key", "insert")}
    assert {row["entity"] for row in added} == {"projects", "tasks"}


async def test_update_makes_the_archives_rows_as_they_were_and_keeps_new_ones(
    lived_in: Any, changed: Any, export: Any, bring: Any, http: httpx.AsyncClient, here: Any
) -> None:
    archive, purged, edited, kept, new = changed

    answer = await bring(http, archive, on_conflict="update")
    again = await bring(http, archive, on_conflict="update")

    assert answer.status_code == 201, answer.text
    tables = answer.json()["tables"]
    assert tables["projects"] == {"rows": 3, "inserted": 1, "updated": 1, "skipped": 1}
    assert names_of(here, lived_in) == {
        purged: "Project 0",
        edited: "Project 1",
        kept: "Project 2",
        new: "New since",
    }
    assert all(t["inserted"] == t["updated"] == 0 for t in again.json()["tables"].values())
    (version,) = here("SELECT version FROM projects WHERE id = %s", edited)
    assert version == (1,)


@pytest.mark.parametrize("on_conflict", ["skip", "update"])
async def test_revoked_key_stays_revoked(
    lived_in: Any, changed: Any, bring: Any, http: httpx.AsyncClient, here: Any, on_conflict: str
) -> None:
    answer = await bring(http, changed[0], on_conflict=on_conflict)

    keys = here("SELECT revoked_at FROM api_keys WHERE tenant_id = %s", lived_in.tenant_id)
    assert answer.json()["tables"]["api_keys"]["skipped"] == 1
    assert [revoked is None for (revoked,) in keys] == [False]


async def test_members_of_the_archive_are_in_the_directory_and_removed_ones_are_not(
    lived_in: Any, changed: Any, bring: Any, http: httpx.AsyncClient, here: Any
) -> None:
    id = lived_in.tenant_id
    listed = "SELECT member_id, person_id FROM memberships WHERE tenant = %s"
    (owner,) = here(listed, id)
    gone = here("SELECT id FROM members WHERE tenant_id = %s AND deleted_at IS NOT NULL", id)[0][0]
    here("INSERT INTO memberships VALUES (%s, %s, uuidv7())", id, gone)

    await bring(http, changed[0], on_conflict="update")

    after = here(listed, id)
    live = here("SELECT id FROM members WHERE tenant_id = %s AND deleted_at IS NULL", id)
    assert owner in after
    assert sorted(member for member, _ in after) == sorted(member for (member,) in live)


async def test_tokens_that_were_revoked_here_stay_revoked(
    lived_in: Any, changed: Any, bring: Any, http: httpx.AsyncClient, here: Any
) -> None:
    id = lived_in.tenant_id
    since = "SELECT tokens_valid_from FROM members WHERE tenant_id = %s ORDER BY id"
    here.change(id, "UPDATE members SET tokens_valid_from = now() WHERE tenant_id = %s", id)
    here.change(id, "UPDATE members SET name = 'Other' WHERE tenant_id = %s", id)
    before = here(since, id)

    answer = await bring(http, changed[0], on_conflict="update")

    assert answer.json()["tables"]["members"]["updated"] == 3
    assert here(since, id) == before
    assert (None,) not in before


async def test_members_beyond_the_quota_are_refused_as_when_they_are_made(
    lived_in: Any, changed: Any, bring: Any, http: httpx.AsyncClient, here: Any
) -> None:
    id = lived_in.tenant_id
    limit = "UPDATE tenants SET limit_overrides = jsonb_build_object('members', %s) WHERE id = %s"
    here.change(
        id,
        "UPDATE members SET status = 'suspended' WHERE tenant_id = %s AND email = 'bob@x.test'",
        id,
    )
    here.change(id, limit, 1, id)
    before = here.of(id)

    refused = await bring(http, changed[0], on_conflict="update")
    after_refusal = here.of(id)
    here.change(id, limit, 2, id)
    taken = await bring(http, changed[0], on_conflict="update")

    assert (refused.status_code, refused.json()["code"]) == (429, "quota_exceeded")
    assert (refused.json()["limit"], refused.json()["value"]) == ("members", 1)
    assert after_refusal == before
    assert taken.status_code == 201, taken.text


async def test_last_owner_is_not_demoted_by_an_archive(
    lived_in: Any, changed: Any, bring: Any, http: httpx.AsyncClient, here: Any
) -> None:
    id = lived_in.tenant_id
    before = here.of(id)
    archive = with_rows(changed[0], "members", lambda r: r.update(role="admin"))

    refused = await bring(http, archive, on_conflict="update")

    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert "no active owner" in refused.json()["detail"]
    assert here.of(id) == before


async def test_counts_of_quotas_are_forgotten_when_rows_came_past_them(
    lived_in: Any, changed: Any, bring: Any, http: httpx.AsyncClient, here: Any
) -> None:
    id = lived_in.tenant_id
    here("INSERT INTO row_quotas (tenant_id, entity, used) VALUES (%s, 'projects', 3)", id)

    await bring(http, changed[0], on_conflict="skip")

    assert here("SELECT count(*) FROM row_quotas WHERE tenant_id = %s", id) == [(0,)]


async def test_name_that_another_row_has_by_now_refuses_the_whole(
    lived_in: Any, changed: Any, bring: Any, http: httpx.AsyncClient, here: Any
) -> None:
    here.change(
        lived_in.tenant_id,
        "INSERT INTO projects (tenant_id, name, created_by, updated_by) "
        "VALUES (%s, 'Project 0', 'x', 'x')",
        lived_in.tenant_id,
    )
    before = here.of(lived_in.tenant_id)

    for on_conflict in ("skip", "update"):
        refused = await bring(http, changed[0], on_conflict=on_conflict)
        assert (refused.status_code, refused.json()["code"]) == (409, "already_exists")
        assert "projects.jsonl, lines 1 to 3" in refused.json()["detail"]
    assert here.of(lived_in.tenant_id) == before


@pytest.mark.parametrize("status", ["deleting", "deleted"])
async def test_tenant_that_is_going_or_gone_takes_nothing_in(
    lived_in: Any, changed: Any, bring: Any, http: httpx.AsyncClient, here: Any, status: str
) -> None:
    id = lived_in.tenant_id
    here.change(id, "UPDATE tenants SET status = %s WHERE id = %s", status, id)
    before = here.of(id)

    for on_conflict in ("error", "skip", "update"):
        refused = await bring(http, changed[0], on_conflict=on_conflict)
        assert (refused.status_code, refused.json()["code"]) == (409, "wrong_tenant_status")
    slug_of_the_dead = await bring(http, changed[0], ids="new")

    assert slug_of_the_dead.status_code == 409
    assert here.of(id) == before


async def test_row_with_another_creation_is_not_passed_off_as_the_archives(
    lived_in: Any, changed: Any, bring: Any, http: httpx.AsyncClient, here: Any
) -> None:
    created = "UPDATE projects SET created_by = 'system:other' WHERE tenant_id = %s"
    here.change(lived_in.tenant_id, created, lived_in.tenant_id)
    before = here.of(lived_in.tenant_id)

    refused = await bring(http, changed[0], on_conflict="update")

    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert here.of(lived_in.tenant_id) == before


@pytest.mark.parametrize(
    "query", [{"ids": "new", "slug": "dry"}, {"on_conflict": "skip"}, {"on_conflict": "update"}]
)
async def test_dry_run_says_what_would_be_and_stores_nothing(
    lived_in: Any,
    changed: Any,
    bring: Any,
    http: httpx.AsyncClient,
    here: Any,
    query: dict[str, str],
) -> None:
    before, rows = here.everything(), here.of(lived_in.tenant_id)
    query = query | ({"slug": f"dry-{lived_in.body['tenant']['slug']}"} if "ids" in query else {})

    dry = await bring(http, changed[0], dry_run="true", **query)
    stored = here.everything(), here.of(lived_in.tenant_id)
    real = await bring(http, changed[0], **query)

    assert (dry.status_code, dry.json()["dry_run"]) == (200, True)
    assert stored == (before, rows)
    assert real.status_code == 201
    assert dry.json()["tables"] == real.json()["tables"]
    assert here.everything() != before


async def test_two_imports_of_one_tenant_at_once_make_it_once(
    lived_in: Any, export: Any, elsewhere_settings: Settings, there: Any
) -> None:
    archive = await export(lived_in.tenant_id)
    urls = elsewhere_settings.database_url, elsewhere_settings.platform_database_url

    async def bring_in(database: Database) -> Imported | SaasError:
        try:
            async with platform_transaction(database):
                opened = OpenArchive(io.BytesIO(archive))
                return await import_tenant(database, opened, Wish(), actor="platform:test")
        except SaasError as refusal:
            return refusal

    async with Database(*map(str, urls)) as first, Database(*map(str, urls)) as second:
        done = await asyncio.gather(*(bring_in(one) for one in (first, second, first, second)))

    refusals = [one for one in done if isinstance(one, SaasError)]
    assert len(refusals) == 3
    assert all(isinstance(refusal, Conflict) for refusal in refusals)
    assert there("SELECT count(*) FROM tenants WHERE id = %s", lived_in.tenant_id) == [(1,)]


async def until_somebody_waits(here: Any) -> None:
    waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = 'saas'"
    for _ in range(400):
        if here(waiting):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("nobody waits")


async def test_tenant_that_is_offboarded_while_its_import_waits_takes_no_rows(
    lived_in: Any, changed: Any, bring: Any, http: httpx.AsyncClient, here: Any, postgres: Any
) -> None:
    before = here.of(lived_in.tenant_id)
    with psycopg.connect(postgres.dsn(postgres.superuser, "saas")) as offboarding:
        offboarding.execute(
            f"SET LOCAL app.tenant_id = '{lived_in.tenant_id}'; SET LOCAL app.actor = 'platform:x';"
            "UPDATE tenants SET status = 'deleting', purge_at = now() + '1 day' "
            f"WHERE id = '{lived_in.tenant_id}'"
        )
        bringing = asyncio.create_task(bring(http, changed[0], on_conflict="update"))
        await until_somebody_waits(here)

    refused = await bringing

    assert (refused.status_code, refused.json()["code"]) == (409, "wrong_tenant_status")
    after = here.of(lived_in.tenant_id)
    assert {name: after[name] for name in ("projects", "members")} == {
        name: before[name] for name in ("projects", "members")
    }


@pytest.mark.parametrize(
    "query",
    [
        {"ids": "both"},
        {"on_conflict": "replace"},
        {"dry_run": "yes"},
        {"dry_run": ""},
        {"slug": "A"},
        {"slug": "a\n"},
        {"plan": ""},
        {"tenant": "x"},
    ],
)
async def test_unknown_or_malformed_parameter_is_refused_by_name(
    tenant: Any, export: Any, bring: Any, http: httpx.AsyncClient, here: Any, query: dict[str, str]
) -> None:
    archive = await export(tenant.tenant_id)
    before = here.everything()

    refused = await bring(http, archive, **query)

    assert refused.status_code == 400, refused.text
    assert refused.json()["errors"][0]["pointer"] == f"/{next(iter(query))}"
    assert here.everything() == before


async def test_names_are_for_new_tenants_alone(
    lived_in: Any, changed: Any, bring: Any, http: httpx.AsyncClient
) -> None:
    for name in ("slug", "plan"):
        refused = await bring(http, changed[0], on_conflict="skip", **{name: "free"})
        assert refused.status_code == 400


async def test_invitation_that_has_ended_stays_ended(
    tenant: Any, export: Any, bring: Any, http: httpx.AsyncClient
) -> None:
    made = [
        (await tenant.post("/v1/invitations", {"email": f"{name}@x.test", "role": "viewer"})).json()
        for name in ("revoked", "used")
    ]
    revoked, used = ({"token": one["token"], "name": "Eve"} for one in made)
    archive = await export(tenant.tenant_id)
    await tenant.delete(f"/v1/invitations/{made[0]['id']}")
    joined = await http.post("/v1/invitations/accept", json=used)
    await tenant.delete(f"/v1/members/{joined.json()['member']['id']}")

    answer = await bring(http, archive, on_conflict="update")

    assert answer.json()["tables"]["invitations"]["skipped"] == 2, answer.text
    assert (await http.post("/v1/invitations/accept", json=revoked)).status_code == 422
    assert (await http.post("/v1/invitations/accept", json=used)).status_code == 409
