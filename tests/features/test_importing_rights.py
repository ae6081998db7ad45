"""Who may import, and see and resume what was imported."""

from typing import Any

import msgspec
import pytest
from importing import (
    CSV,
    bad_rows_of,
    break_off,
    ended,
    errors_of,
    imported,
    names_of,
    only_import_of,
    send,
)
from refusals import assert_refused

from saas.app import create_app
from saas.db.imports import upload

FILE = "name\nOne\nT\n"


async def test_to_import_takes_the_right_to_write(tenant: Any, member_with: Any) -> None:
    viewer, writer = member_with(tenant, role="viewer"), member_with(tenant, role="member")

    refused = assert_refused(await send(viewer, FILE), 403, "permission_denied")
    done = await imported(writer, FILE)

    assert refused["permission"] == "projects:write"
    assert done["started_by"] == f"member:{tenant.owner_id}"
    assert len(await errors_of(viewer, done["id"])) == 1
    resume = f"/v1/imports/{done['id']}/resume"
    assert_refused(await viewer.post(resume), 403, "permission_denied")
    sent = await viewer("POST", resume, content=FILE, headers=CSV)
    assert_refused(sent, 403, "permission_denied")
    assert (await writer.post(resume)).json() == done


async def test_imports_are_seen_by_who_may_read_the_resource(tenant: Any, member_with: Any) -> None:
    done = await imported(tenant, FILE)
    reader = member_with(tenant, permissions=["projects:read"])
    other = member_with(tenant, permissions=["tasks:read", "tasks:write"])
    nobody = member_with(tenant, permissions=[])

    path = f"/v1/imports/{done['id']}"
    for caller in (other, nobody):
        assert (await caller.get("/v1/imports")).json()["items"] == []
        assert_refused(await caller.get(path), 403, "permission_denied")
        assert_refused(await caller.get(f"{path}/errors"), 403, "permission_denied")
        assert_refused(await caller.post(f"{path}/resume"), 403, "permission_denied")
    assert (await reader.get("/v1/imports")).json()["items"] == [done]
    assert (await reader.get(path)).json() == done
    assert "too_short" in (await reader.get(f"{path}/errors")).text
    assert_refused(await reader.post(f"{path}/resume"), 403, "permission_denied")


async def test_rows_are_written_in_the_name_of_who_imports(tenant: Any, in_tenant: Any) -> None:
    answer = await send(tenant, FILE, headers={"X-Request-ID": "import-7"})
    await ended(tenant, answer.json()["id"])

    (entry,) = (await tenant.get("/v1/audit?entity=projects")).json()["items"]

    assert (entry["action"], entry["request_id"]) == ("insert", "import-7")
    assert entry["actor"] == f"key:{tenant.body['api_key']['id']}"
    assert in_tenant(tenant, "SELECT created_by FROM projects") == [(entry["actor"],)]
    assert in_tenant(tenant, "SELECT count(*) FROM audit_log WHERE entity LIKE 'import%%'") == [
        (0,)
    ]


async def test_imports_are_listed_filtered_and_paged(tenant: Any) -> None:
    records = [await imported(tenant, f"name\nProject {n}\n") for n in range(3)]
    tried = await imported(tenant, "name\nTrial\n", dry_run="true")

    async def listed(query: str) -> list[str]:
        answer = await tenant.get(f"/v1/imports?{query}")
        assert answer.status_code == 200, answer.text
        return [record["id"] for record in answer.json()["items"]]

    latest_first = [tried["id"], *(record["id"] for record in reversed(records))]
    assert await listed("") == latest_first
    assert await listed("dry_run=true&resource=projects&format=csv") == [tried["id"]]
    assert await listed("sort=id&limit=2") == latest_first[:1:-1]
    page = (await tenant.get("/v1/imports?limit=3&fields=id,status")).json()
    assert page["items"] == [{"id": id, "status": "done"} for id in latest_first[:3]]
    assert await listed(f"limit=3&cursor={page['next_cursor']}") == latest_first[3:]
    for hidden in ("status=done", "worker__isnull=false", "source=1", "digest=1"):
        refused = await tenant.get(f"/v1/imports?{hidden}")
        assert_refused(refused, 400, "bad_request")


async def test_errors_are_paged_in_the_order_of_lines(tenant: Any) -> None:
    file = "name\n" + "".join("X\n" if n % 2 else f"Project {n}\n" for n in range(500))
    done = await imported(tenant, file)
    path = f"/v1/imports/{done['id']}/errors"

    lines, cursor = [], ""
    while cursor is not None:
        page = (await tenant.get(f"{path}?limit=100{cursor and '&cursor='}{cursor}")).json()
        lines += [error["line"] for error in page["items"]]
        cursor = page["next_cursor"]

    assert lines == list(range(3, 502, 2))
    assert len((await bad_rows_of(tenant, done["id"])).splitlines()) == 251
    accepted = await tenant.get(path, headers={"Accept": "text/csv"})
    assert accepted.headers["content-type"] == "text/csv; charset=utf-8"
    last = (await tenant.get(f"{path}?sort=-line&limit=1&code=too_short")).json()["items"]
    assert [error["line"] for error in last] == [501]
    for query in ("format=xml", "format=csv&format=json", "import_id=1", "q=x"):
        assert_refused(await tenant.get(f"{path}?{query}"), 400, "bad_request")


async def test_a_suspended_tenant_imports_no_further(
    tenant: Any, as_superuser: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "PIECE_BYTES", 100)
    file = "name\n" + "".join(f"Project {n}\n" for n in range(800))
    # The audit trigger needs a bound tenant, whoever writes.
    set_status = (
        "WITH bound AS (SELECT set_config('app.tenant_id', %s, true)) "
        "UPDATE tenants SET status = %s FROM bound WHERE id = %s"
    )
    answer = await send(tenant, file)

    as_superuser(set_status, tenant.tenant_id, "suspended", tenant.tenant_id)
    stopped = await ended(tenant, answer.json()["id"])
    as_superuser(set_status, tenant.tenant_id, "active", tenant.tenant_id)

    assert stopped["status"] == "interrupted"
    assert stopped["detail"].startswith("This tenant is suspended.")
    assert stopped["inserted"] < 800
    resumed = await tenant.post(f"/v1/imports/{stopped['id']}/resume")
    assert (resumed.status_code, resumed.json()["status"]) == (202, "running")
    assert (await ended(tenant, stopped["id"]))["inserted"] == 800
    assert (await tenant.get("/v1/projects?include_total=true&limit=1")).json()["total"] == 800


@pytest.mark.parametrize("way", ["import", "resume"])
async def test_an_upload_ends_with_the_right_to_write(
    way: str,
    tenant: Any,
    app: Any,
    settings: Any,
    serve: Any,
    as_superuser: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(upload, "PIECE_BYTES", 5)
    narrowed = (
        "WITH bound AS (SELECT set_config('app.tenant_id', %s, true)) UPDATE api_keys "
        """SET permissions = '["projects:read"]' FROM bound WHERE tenant_id = %s"""
    )
    path = "/v1/projects/import"
    if way == "resume":
        await break_off(app, tenant, path, FILE.encode())
        path = f"/v1/imports/{(await only_import_of(tenant))['id']}/resume"

    async def body() -> Any:
        yield FILE.encode()
        as_superuser(narrowed, tenant.tenant_id, tenant.tenant_id)
        yield b"Late\n"

    forgetful = create_app(msgspec.structs.replace(settings, principal_cache_seconds=0))
    async with serve(forgetful) as http:
        caller = type(tenant)(http, tenant.key, tenant.body)
        answer = await caller("POST", path, content=body(), headers=CSV)

        refused = assert_refused(answer, 403, "permission_denied")
        assert refused["permission"] == "projects:write"
        assert (await only_import_of(caller))["status"] == "interrupted"
        assert await names_of(caller) == []


async def test_imports_of_one_tenant_wait_for_each_other(tenant: Any) -> None:
    answers = [await send(tenant, f"name\nShared\nOwn {n}\n") for n in range(5)]

    done = [await ended(tenant, answer.json()["id"]) for answer in answers]

    assert [record["inserted"] for record in done] == [2, 1, 1, 1, 1]
    assert [record["failed"] for record in done] == [0, 1, 1, 1, 1]
    assert len(await names_of(tenant)) == 6
