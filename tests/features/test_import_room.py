"""How many files a tenant may have here that are not imported yet."""

import asyncio
from typing import Any

import pytest
from importing import CSV, break_off, ended, record_of, send
from refusals import assert_refused

from saas.db.imports import upload

MOST = 1_000
PATH = "/v1/projects/import"


def file_of(size: int, name: str = "a") -> bytes:
    head = b"name,description\n"
    row = f"Project {name},".encode()
    return head + row + b"x" * (size - len(head) - len(row))


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "PIECE_BYTES", 500)


@pytest.fixture
async def small(on_plan: Any) -> Any:
    """A tenant that may send files of 1,000 bytes, and so have ten of them here."""
    return await on_plan(import_bytes=MOST, rows=1)


async def broken_off(app: Any, tenant: Any, *, times: int) -> list[Any]:
    for number in range(times):
        await break_off(app, tenant, PATH, file_of(MOST, f"{number}")[:-1], length=MOST)
    listed = await tenant.get("/v1/imports", params={"limit": 100, "sort": "started_at"})
    records: list[Any] = listed.json()["items"]
    return records


async def test_uploads_that_broke_off_do_not_fill_the_disk(
    app: Any, small: Any, other_tenant: Any, in_tenant: Any
) -> None:
    first, *_, last = await broken_off(app, small, times=10)

    refused = assert_refused(await send(small, file_of(MOST)), 429, "too_many_at_once")
    assert "not imported yet" in refused["detail"]
    assert (await send(other_tenant, file_of(MOST))).status_code == 202

    # Whoever goes on with one takes no more room.
    rest = {"content": b"x", "headers": CSV}
    resumed = await small("POST", f"/v1/imports/{last['id']}/resume", **rest)
    assert resumed.status_code == 202
    assert (await ended(small, last["id"]))["status"] == "done"
    assert (await send(small, file_of(MOST))).status_code == 202

    # What was left an hour ago gives way, but not to its own rest.
    await asyncio.sleep(0.2)
    in_tenant(small, "UPDATE imports SET heartbeat_at = now() - interval '61 minutes'")
    resumed = await small("POST", f"/v1/imports/{first['id']}/resume", **rest)
    assert resumed.status_code == 202
    await broken_off(app, small, times=2)
    assert (await small.get(f"/v1/imports/{first['id']}")).status_code == 200
    listed = (await small.get("/v1/imports?limit=100&include_total=true")).json()
    assert listed["total"] < 12


async def test_many_at_once_do_not_pass_it_either(app: Any, small: Any) -> None:
    broken = (
        break_off(app, small, PATH, file_of(MOST, f"{number}")[:-1], length=MOST)
        for number in range(15)
    )

    statuses = await asyncio.gather(*broken)

    assert sorted(statuses) == [400] * 10 + [429] * 5


async def test_file_of_unknown_length_counts_for_what_has_come(app: Any, small: Any) -> None:
    for number in range(12):
        await break_off(app, small, PATH, file_of(MOST // 2, f"{number}"))

    assert (await send(small, file_of(MOST))).status_code == 202


async def test_import_that_ended_long_ago_is_forgotten_with_what_it_refused(
    tenant: Any, other_tenant: Any, in_tenant: Any
) -> None:
    records = {}
    for caller, name, days in ((tenant, "old", 91), (tenant, "new", 89), (other_tenant, "far", 99)):
        answer = await send(caller, f"name,budget_cents\nGood {name},1\nBad,{name}\n".encode())
        records[name] = await ended(caller, answer.json()["id"])
        ago = f"finished_at = now() - interval '{days} days'"
        in_tenant(caller, f"UPDATE imports SET {ago} WHERE id = %s", records[name]["id"])

    again = await send(tenant, b"name\nAnother\n")

    await ended(tenant, again.json()["id"])
    listed = (await tenant.get("/v1/imports")).json()["items"]
    assert {one["id"] for one in listed} == {records["new"]["id"], again.json()["id"]}
    errors = "SELECT import_id::text FROM import_errors"
    assert in_tenant(tenant, errors) == [(records["new"]["id"],)]
    assert in_tenant(other_tenant, errors) == [(records["far"]["id"],)]
    names = {row["name"] for row in (await tenant.get("/v1/projects")).json()["items"]}
    assert names == {"Good old", "Good new", "Another"}


async def test_file_of_an_import_that_stands_still_is_forgotten_after_a_week(
    small: Any, in_tenant: Any
) -> None:
    await small.create("projects", name="The one that there may be")
    sent = await send(small, file_of(MOST))
    stopped = await ended(small, sent.json()["id"])
    assert stopped["status"] == "interrupted"
    in_tenant(small, "UPDATE imports SET heartbeat_at = now() - interval '8 days'")

    await send(small, file_of(MOST, "another"))

    given_up = await record_of(small, stopped["id"])
    assert given_up["status"] == "failed"
    assert given_up["finished_at"] is not None
    assert "for a week" in given_up["detail"]
    of_it = "SELECT count(*) FROM import_chunks WHERE import_id = %s"
    assert in_tenant(small, of_it, stopped["id"]) == [(0,)]
    resume = await small.post(f"/v1/imports/{stopped['id']}/resume")
    assert_refused(resume, 409, "conflict")
