"""Inputs at the edge of a type, a header or a route: a clear refusal, never a 500."""

from typing import Any
from uuid import uuid4

import psycopg
import pytest

from saas.db.roles import APP
from saas.dev.postgres import EmbeddedPostgres


def wish(**changes: Any) -> dict[str, Any]:
    owner = {"email": "ada@edge.test", "name": "Ada"}
    return {"slug": f"edge-{uuid4().hex[:9]}", "name": "Edge", "owner": owner} | changes


async def test_history_goes_on_behind_its_cursor(tenant: Any) -> None:
    row = await tenant.create("projects", name="Rocket")
    path = f"/v1/projects/{row['id']}"
    for cents in range(3):
        await tenant.patch(path, {"budget_cents": cents})

    first = (await tenant.get(f"{path}/history?limit=2")).json()
    second = await tenant.get(
        f"{path}/history", params={"limit": 2, "cursor": first["next_cursor"]}
    )

    assert second.status_code == 200
    actions = [entry["action"] for entry in first["items"] + second.json()["items"]]
    assert actions == ["update", "update", "update", "insert"]


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
@pytest.mark.parametrize("tag", ['"9999999999"', '"01"', '"0"'])
async def test_tag_that_is_no_version_matches_nothing(tenant: Any, method: str, tag: str) -> None:
    row = await tenant.create("projects", name="Rocket")

    answer = await tenant(
        method,
        f"/v1/projects/{row['id']}",
        json={"budget_cents": 1} if method == "PATCH" else None,
        headers={"If-Match": tag},
    )

    assert answer.status_code == 412


@pytest.mark.parametrize(
    "query",
    [
        "name__like=%5C",
        "name__ilike=Rock%5C",
        "name__=x",
        "created_at__gte=0001-01-01T00:00:00%2B14:00",
        "created_at__gte=9999-12-31T23:59:59-14:00",
        "created_at__gte=1700000000",
        "created_at__gte=-1",
        "created_at__gte=1e3",
    ],
)
async def test_filter_that_means_nothing_is_refused(tenant: Any, query: str) -> None:
    await tenant.create("projects", name="Rocket")

    assert (await tenant.get("/v1/projects?name__like=Rock%5C%5C")).status_code == 200
    assert (await tenant.get(f"/v1/projects?{query}")).status_code == 400


async def test_live_child_of_a_deleted_parent_is_not_deleted(tenant: Any) -> None:
    project = await tenant.create("projects", name="Rocket")
    task = await tenant.create("tasks", project_id=project["id"], title="Launch")
    await tenant.delete(f"/v1/projects/{project['id']}")

    answer = await tenant.post(f"/v1/tasks/{task['id']}/restore")

    assert (answer.status_code, answer.json()["code"]) == (409, "not_deleted")


async def test_restore_heeds_if_match(tenant: Any) -> None:
    row = await tenant.create("projects", name="Rocket")
    path = f"/v1/projects/{row['id']}"
    await tenant.delete(path)

    stale = await tenant.post(f"{path}/restore", headers={"If-Match": '"1"'})
    fresh = await tenant.post(f"{path}/restore", headers={"If-Match": '"2"'})

    assert (stale.status_code, fresh.status_code) == (412, 200)


async def test_hard_delete_of_a_deleted_row_heeds_a_list_of_tags(tenant: Any) -> None:
    row = await tenant.create("projects", name="Rocket")
    path = f"/v1/projects/{row['id']}"
    await tenant.delete(path)

    stale = await tenant.delete(f"{path}?hard=true", headers={"If-Match": '"7", "8"'})
    fresh = await tenant.delete(f"{path}?hard=true", headers={"If-Match": '"1", "2"'})

    assert (stale.status_code, fresh.status_code) == (412, 204)


async def test_hard_given_twice_is_refused(tenant: Any) -> None:
    row = await tenant.create("projects", name="Rocket")
    path = f"/v1/projects/{row['id']}"

    assert (await tenant.delete(f"{path}?hard=false&hard=true")).status_code == 400
    assert (await tenant.get(path)).status_code == 200


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"slug": "acme\n"}, "/slug"),
        ({"plan": "x" * 41}, "/plan"),
        ({"owner": {"email": "a@b.test\n", "name": "A"}}, "/owner/email"),
        ({"owner": {"email": "a\x01@b.test", "name": "A"}}, "/owner/email"),
    ],
)
async def test_wish_with_a_hidden_fault_names_the_field(
    operator: Any, changes: dict[str, Any], pointer: str
) -> None:
    answer = await operator.post("/v1/admin/tenants", wish(**changes))

    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


@pytest.mark.parametrize("query", ["cursor=%00", "cursor=zzz", "limit=1&limit=2", "colour=red"])
async def test_list_of_tenants_takes_only_what_it_knows(operator: Any, query: str) -> None:
    assert (await operator.get("/v1/admin/tenants?limit=1&sort=slug")).status_code == 200
    assert (await operator.get(f"/v1/admin/tenants?{query}")).status_code == 400


async def test_masked_change_shows_that_it_happened(
    tenant: Any, postgres: EmbeddedPostgres
) -> None:
    new_key = (
        "INSERT INTO api_keys (tenant_id, name, prefix, secret_hash, role, created_by, updated_by) "
        "VALUES (%s, 'second', 'sk_2', sha256('old'), 'viewer', 'x', 'x')"
    )
    with psycopg.connect(postgres.dsn(APP)) as app:
        app.execute(f"SET LOCAL app.tenant_id = '{tenant.tenant_id}'")
        app.execute(new_key, [tenant.tenant_id])
        app.execute("UPDATE api_keys SET secret_hash = sha256('new') WHERE name = 'second'")

    entries = await tenant.get("/v1/audit?entity=api_keys&action=update")

    (entry,) = entries.json()["items"]
    assert entry["changes"] == {"secret_hash": {"old": "***", "new": "***"}}


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/v1/projects", "GET, HEAD, OPTIONS, POST"),
        ("/v1/projects/x", "DELETE, GET, HEAD, OPTIONS, PATCH"),
        ("/v1/projects/x/restore", "OPTIONS, POST"),
        ("/v1/admin/tenants", "GET, HEAD, OPTIONS, POST"),
        ("/livez", "GET, HEAD, OPTIONS"),
    ],
)
async def test_options_and_405_tell_all_methods_without_a_credential(
    http: Any, path: str, methods: str
) -> None:
    answer = await http.options(path)
    refused = await http.put(path)

    assert (answer.status_code, answer.headers["Allow"]) == (204, methods)
    assert (refused.status_code, refused.headers["Allow"]) == (405, methods)


async def test_junk_behind_a_cursor_is_refused(tenant: Any) -> None:
    for name in ("Rocket", "Anvil"):
        await tenant.create("projects", name=name)
    cursor = (await tenant.get("/v1/projects?limit=1")).json()["next_cursor"]

    assert (await tenant.get(f"/v1/projects?limit=1&cursor={cursor}")).status_code == 200
    assert (await tenant.get(f"/v1/projects?limit=1&cursor={cursor}!!!!")).status_code == 400


async def test_api_key_header_takes_api_keys_alone(operator: Any, http: Any) -> None:
    by_header = {"X-API-Key": operator.key}

    assert (await operator.get("/v1/admin/tenants")).status_code == 200
    assert (await http.get("/v1/admin/tenants", headers=by_header)).status_code == 401
