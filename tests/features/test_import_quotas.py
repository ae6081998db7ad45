"""Files beyond what the tenant's plan allows."""

import asyncio
from typing import Any

import pytest
from importing import counts, ended, imported, names_of, send
from refusals import assert_refused

from saas.db.imports import upload

MOST = 10


def file(*numbers: int) -> str:
    return "name,budget_cents\n" + "".join(f"Row {n:04},{n}\n" for n in numbers)


async def test_an_import_stops_where_there_is_no_room_and_goes_on_once_there_is(
    on_plan: Any,
) -> None:
    tenant = await on_plan(rows=MOST)
    await imported(tenant, file(*range(8)))

    full = await imported(tenant, file(*range(100, 105)))

    assert (full["status"], counts(full)) == ("interrupted", (0, 0, 0, 0, 0))
    assert full["detail"].startswith(f"This tenant may have {MOST} projects and no more.")
    assert len(await names_of(tenant)) == 8
    for row in (await tenant.get("/v1/projects?limit=3&fields=id")).json()["items"]:
        assert (await tenant.delete(f"/v1/projects/{row['id']}")).status_code == 204
    resumed = await tenant.post(f"/v1/imports/{full['id']}/resume")
    assert resumed.status_code == 202
    done = await ended(tenant, full["id"])
    assert (done["status"], done["detail"], counts(done)) == ("done", None, (5, 5, 0, 0, 0))
    assert len(await names_of(tenant)) == MOST


async def test_an_import_stops_at_the_bytes_that_a_tenant_may_store(on_plan: Any) -> None:
    tenant = await on_plan(storage_bytes=1_000)
    await tenant.create("projects", name="Large", description="x" * 1_000)

    full = await imported(tenant, file(1, 2))

    assert (full["status"], counts(full)) == ("interrupted", (0, 0, 0, 0, 0))
    assert full["detail"].startswith("This tenant may have 1000 bytes of rows")
    (row,) = (await tenant.get("/v1/projects")).json()["items"]
    assert (await tenant.delete(f"/v1/projects/{row['id']}?hard=true")).status_code == 204
    assert (await tenant.post(f"/v1/imports/{full['id']}/resume")).status_code == 202
    assert counts(await ended(tenant, full["id"])) == (2, 2, 0, 0, 0)


@pytest.mark.parametrize("options", [{"mode": "atomic"}, {"dry_run": "true"}])
async def test_all_or_none_is_none_without_room(on_plan: Any, options: Any) -> None:
    tenant = await on_plan(rows=MOST)

    refused = await imported(tenant, file(*range(MOST + 1)), **options)
    fits = await imported(tenant, file(*range(MOST)), **options)

    assert (refused["status"], fits["status"]) == ("interrupted", "done")
    assert refused["detail"].startswith(f"This tenant may have {MOST} projects")
    assert counts(fits) == (MOST, MOST, 0, 0, 0)
    assert len(await names_of(tenant)) == (0 if "dry_run" in options else MOST)


async def test_rows_that_are_no_new_ones_need_no_room(on_plan: Any) -> None:
    tenant = await on_plan(rows=MOST)
    await imported(tenant, file(*range(MOST)))
    changed = file(*range(MOST)).replace(",0\n", ",7\n")

    updated = await imported(tenant, changed, on_conflict="update")
    skipped = await imported(tenant, file(*range(MOST)), on_conflict="skip")
    refused = await imported(tenant, file(*range(MOST)), again="true")

    assert counts(updated) == (MOST, 0, 1, MOST - 1, 0)
    assert counts(skipped) == (MOST, 0, 0, MOST, 0)
    # That their keys are taken is told, for more room would not help them.
    assert (refused["status"], counts(refused)) == ("done", (MOST, 0, 0, 0, MOST))


async def test_the_same_key_twice_needs_room_once(on_plan: Any) -> None:
    tenant = await on_plan(rows=2)

    for on_conflict, outcome in (("error", (3, 2, 0, 0, 1)), ("skip", (3, 0, 0, 3, 0))):
        done = await imported(tenant, file(1, 1, 2), on_conflict=on_conflict)
        assert (done["status"], counts(done)) == ("done", outcome)


async def test_imports_and_creates_at_once_stay_within_the_quota(
    on_plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "PIECE_BYTES", 60)
    tenant = await on_plan(rows=30)

    sending = [send(tenant, file(*range(n, n + 15))) for n in (0, 100)]
    creating = [tenant.post("/v1/projects", {"name": f"P{n}"}) for n in range(20)]
    answers = await asyncio.gather(*sending, *creating)
    records = [await ended(tenant, answer.json()["id"]) for answer in answers[:2]]

    created = sum(answer.status_code == 201 for answer in answers[2:])
    total = (await tenant.get("/v1/projects?include_total=true&limit=1")).json()["total"]
    assert total == created + sum(record["inserted"] for record in records) <= 30
    assert "interrupted" in {record["status"] for record in records}


async def test_a_plan_has_a_largest_file(on_plan: Any) -> None:
    tenant = await on_plan(import_bytes=200)

    refused = assert_refused(await send(tenant, file(*range(50))), 413, "content_too_large")

    assert "200 bytes" in refused["detail"]
    assert (await tenant.get("/v1/imports")).json()["items"] == []
    assert (await imported(tenant, file(*range(5))))["inserted"] == 5
