"""Uploads that break off, are too large, or come twice."""

from typing import Any
from uuid import uuid4

import msgspec
import pytest
from importing import (
    CSV,
    break_off,
    counts,
    ended,
    imported,
    names_of,
    only_import_of,
    record_of,
    send,
)
from keyed import assert_replays, keyed
from refusals import assert_refused

from saas.app import create_app
from saas.db.imports import upload

FILE = "name,description\n" + "".join(f"Project {n:03},{'x' * 50}\n" for n in range(60))
DATA = FILE.encode()
WHOLE = len(DATA)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "PIECE_BYTES", 500)


async def test_what_was_received_is_kept_and_the_rest_can_follow(app: Any, tenant: Any) -> None:
    status = await break_off(app, tenant, "/v1/projects/import", DATA[:1234], length=WHOLE)

    broken = await only_import_of(tenant)
    assert status == 400
    assert (broken["status"], broken["bytes_received"], counts(broken)) == (
        "interrupted",
        1234,
        (0, 0, 0, 0, 0),
    )
    assert broken["detail"] == "The body ended before it was whole."
    path = f"/v1/imports/{broken['id']}/resume"
    refused = assert_refused(await tenant.post(path), 409, "upload_incomplete")
    assert refused["bytes_received"] == 1234
    assert_refused(await tenant("POST", path, content=DATA[:99], headers=CSV), 409, "conflict")

    resumed = await tenant("POST", path, content=DATA[1234:], headers=CSV)

    assert (resumed.status_code, resumed.headers["location"]) == (
        202,
        f"/v1/imports/{broken['id']}",
    )
    done = await ended(tenant, broken["id"])
    assert (done["status"], done["detail"], counts(done)) == ("done", None, (60, 60, 0, 0, 0))
    assert done["bytes_received"] == WHOLE
    assert_refused(await tenant("POST", path, content=DATA, headers=CSV), 409, "conflict")
    assert (await send(tenant, FILE)).json()["id"] == broken["id"]


async def test_the_whole_file_may_follow_as_well(app: Any, tenant: Any) -> None:
    await break_off(app, tenant, "/v1/projects/import", DATA[:777], length=WHOLE)
    broken = await only_import_of(tenant)
    path = f"/v1/imports/{broken['id']}/resume"
    await break_off(app, tenant, path, DATA[:900], DATA[900:1200], length=WHOLE)
    assert (await record_of(tenant, broken["id"]))["bytes_received"] == 1200

    resumed = await tenant("POST", path, content=DATA, headers=CSV)

    assert resumed.status_code == 202
    assert counts(await ended(tenant, broken["id"])) == (60, 60, 0, 0, 0)


async def test_a_file_of_unknown_length_is_whole_when_its_rest_has_come(
    app: Any, tenant: Any
) -> None:
    await break_off(app, tenant, "/v1/projects/import", DATA[:1000])
    broken = await only_import_of(tenant)
    path = f"/v1/imports/{broken['id']}/resume"

    assert_refused(await tenant.post(path), 409, "upload_incomplete")
    resumed = await tenant("POST", path, content=DATA[1000:], headers=CSV)

    assert resumed.status_code == 202
    assert counts(await ended(tenant, broken["id"])) == (60, 60, 0, 0, 0)


async def test_a_file_that_broke_off_at_its_very_end_needs_no_more(app: Any, tenant: Any) -> None:
    await break_off(app, tenant, "/v1/projects/import", DATA, length=WHOLE)
    broken = await only_import_of(tenant)
    assert broken["status"] == "interrupted"

    resumed = await tenant.post(f"/v1/imports/{broken['id']}/resume")

    assert resumed.status_code == 202
    assert counts(await ended(tenant, broken["id"])) == (60, 60, 0, 0, 0)


async def test_a_refused_header_leaves_nothing_behind(app: Any, tenant: Any) -> None:
    status = await break_off(app, tenant, "/v1/projects/import", b"nmae\nOne\n", length=5_000)

    # It broke off before its header could be looked at.
    assert status == 400
    assert (await tenant.get("/v1/imports")).json()["items"] == []


async def test_a_refused_query_leaves_nothing_behind(tenant: Any) -> None:
    for query in ({"again": "maybe"}, {"mode": "half"}, {"map": "x"}):
        assert_refused(await send(tenant, FILE, **query), 400, "bad_request")

    assert (await tenant.get("/v1/imports")).json()["items"] == []


async def test_a_file_has_a_largest_size(settings: Any, serve: Any, tenant: Any) -> None:
    small = create_app(msgspec.structs.replace(settings, max_import_bytes=2_000))
    async with serve(small) as http:
        caller = type(tenant)(http, tenant.key, tenant.body)

        async def stream() -> Any:
            for start in range(0, WHOLE, 100):
                yield DATA[start : start + 100]

        for body in (FILE, stream()):
            refused = assert_refused(await send(caller, body), 413, "content_too_large")
            assert "2000 bytes" in refused["detail"]
        assert (await caller.get("/v1/imports")).json()["items"] == []
        assert (await imported(caller, DATA[:1_980]))["inserted"] > 10


async def test_a_key_stands_for_the_digest_of_the_file(tenant: Any) -> None:
    key = keyed()
    first = await send(tenant, FILE, **key)
    await ended(tenant, first.json()["id"])

    again = await send(tenant, FILE, **key)
    other = await send(tenant, FILE + "More,\n", **key)
    otherwise = await send(tenant, FILE, **key, mode="atomic")

    assert_replays(again, first)
    assert_refused(other, 422, "idempotency_key_reused")
    assert_refused(otherwise, 422, "idempotency_key_reused")
    assert (await only_import_of(tenant))["id"] == first.json()["id"]
    assert len(await names_of(tenant)) == 60


async def test_a_refusal_under_a_key_is_decided_anew(tenant: Any) -> None:
    key = keyed()
    assert_refused(await send(tenant, "nmae\nOne\n", **key), 422, "invalid")
    assert_refused(await send(tenant, FILE, **key, mode="half"), 400, "bad_request")
    assert_refused(await send(tenant, FILE, **key, unknown="1"), 400, "bad_request")
    assert_refused(await send(tenant, FILE, **key, again="maybe"), 400, "bad_request")

    assert (await send(tenant, "name\nOne\n", **key)).status_code == 202


async def test_a_resume_may_have_a_key_as_well(app: Any, tenant: Any) -> None:
    await break_off(app, tenant, "/v1/projects/import", DATA[:1234], length=WHOLE)
    path = f"/v1/imports/{(await only_import_of(tenant))['id']}/resume"
    key = keyed()
    options = {"content": DATA[1234:], "headers": {**CSV, **key["headers"]}}

    first = await tenant("POST", path, **options)
    await ended(tenant, first.json()["id"])

    assert first.status_code == 202
    assert_replays(await tenant("POST", path, **options), first)
    other = await tenant("POST", path, content=DATA, headers=options["headers"])
    assert_refused(other, 422, "idempotency_key_reused")
    longer = await tenant("POST", path, content=DATA + b"x", headers=options["headers"])
    assert_refused(longer, 409, "conflict")
    empty = keyed()
    told = await tenant.post(path, **empty)
    assert_replays(await tenant.post(path, **empty), told)
    assert len(await names_of(tenant)) == 60


async def test_what_was_asked_of_the_beginning_is_true_of_the_rest(app: Any, tenant: Any) -> None:
    first = await imported(tenant, FILE)
    assert first["inserted"] == 60
    for rest in (DATA[1234:], b""):
        here = WHOLE - len(rest)
        await break_off(app, tenant, "/v1/projects/import?again=true", DATA[:here], length=WHOLE)
        broken = (await tenant.get("/v1/imports")).json()["items"][0]
        path = f"/v1/imports/{broken['id']}/resume"

        resumed = await tenant("POST", path, content=rest, headers=CSV)

        assert resumed.json()["id"] == broken["id"] != first["id"]
        assert counts(await ended(tenant, broken["id"])) == (60, 0, 0, 0, 60)


@pytest.mark.parametrize("length", [WHOLE, None])
async def test_a_resume_that_its_key_refuses_costs_nothing_of_the_file(
    app: Any, tenant: Any, length: int | None
) -> None:
    await break_off(app, tenant, "/v1/projects/import", DATA[:1234], length=length)
    path = f"/v1/imports/{(await only_import_of(tenant))['id']}/resume"
    key = keyed()
    assert_refused(await tenant.post(path, **key), 409, "upload_incomplete")

    rest = {"content": DATA[1234:], "headers": {**CSV, **key["headers"]}}
    assert_refused(await tenant("POST", path, **rest), 422, "idempotency_key_reused")

    kept = await only_import_of(tenant)
    assert (kept["status"], kept["bytes_received"]) == ("interrupted", WHOLE)
    assert (await tenant.post(path)).status_code == 202
    assert counts(await ended(tenant, kept["id"])) == (60, 60, 0, 0, 0)


async def test_absent_imports_are_absent(tenant: Any) -> None:
    for id in (uuid4(), "x"):
        path = f"/v1/imports/{id}"
        assert_refused(await tenant.get(path), 404, "not_found")
        assert_refused(await tenant.get(f"{path}/errors"), 404, "not_found")
        assert_refused(await tenant.post(f"{path}/resume"), 404, "not_found")
        sent = await tenant("POST", f"{path}/resume", content=DATA, headers=CSV)
        assert_refused(sent, 404, "not_found")
