"""Optimistic locking: If-Match and `version` guard a change, If-None-Match spares a transfer."""

import asyncio
from uuid import uuid4

import pytest
from refusals import assert_refused


async def test_change_of_a_stale_version_is_refused_with_the_present_one(tenant):
    row = await tenant.create("projects", name="Rocket")
    path = f"/v1/projects/{row['id']}"

    first = await tenant.patch(path, {"budget_cents": 1}, headers={"If-Match": '"1"'})
    by_header = await tenant.patch(path, {"budget_cents": 2}, headers={"If-Match": '"1"'})
    by_body = await tenant.patch(path, {"budget_cents": 2, "version": 1})
    fresh = await tenant.patch(path, {"budget_cents": 2, "version": 2})

    assert (first.status_code, first.headers["etag"]) == (200, '"2"')
    assert assert_refused(by_header, 412, "precondition_failed")["current_version"] == 2
    assert assert_refused(by_body, 409, "version_conflict")["current_version"] == 2
    assert (fresh.status_code, fresh.headers["etag"]) == (200, '"3"')
    assert (await tenant.get(path)).json() == fresh.json()


@pytest.mark.parametrize("query", ["", "?hard=true"])
async def test_delete_of_a_stale_version_is_refused(tenant, query):
    row = await tenant.create("projects", name="Rocket")
    path = f"/v1/projects/{row['id']}"
    await tenant.patch(path, {"budget_cents": 1})

    stale = await tenant.delete(path + query, headers={"If-Match": '"1"'})
    survivor = await tenant.get(path)
    fresh = await tenant.delete(path + query, headers={"If-Match": '"2"'})

    assert assert_refused(stale, 412, "precondition_failed")["current_version"] == 2
    assert survivor.status_code == 200
    assert fresh.status_code == 204


async def test_change_that_changes_nothing_is_still_refused_for_a_stale_version(tenant):
    row = await tenant.create("projects", name="Rocket")
    path = f"/v1/projects/{row['id']}"
    await tenant.patch(path, {"budget_cents": 1})

    for body in ({}, {"name": "Rocket"}):
        by_header = await tenant.patch(path, body, headers={"If-Match": '"1"'})
        by_body = await tenant.patch(path, body | {"version": 1})
        fresh = await tenant.patch(path, body | {"version": 2}, headers={"If-Match": '"2"'})

        assert_refused(by_header, 412, "precondition_failed")
        assert_refused(by_body, 409, "version_conflict")
        assert fresh.status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-None-Match": "*"}, 412),
        ({"If-None-Match": '"2"'}, 412),
        ({"If-None-Match": 'W/"2"'}, 412),
        ({"If-None-Match": '"1", "2"'}, 412),
        ({"If-None-Match": "2"}, 400),
        ({"If-None-Match": '"2"', "If-Match": '"2"'}, 412),
        ({"If-None-Match": '"1"', "If-Match": '"1"'}, 412),
        ({"If-None-Match": '"1"'}, 200),
        ({"If-None-Match": '"1"', "If-Match": '"2"'}, 200),
    ],
)
async def test_if_none_match_guards_a_change_too(tenant, headers, status):
    row = await tenant.create("projects", name="Rocket")
    path = f"/v1/projects/{row['id']}"
    await tenant.patch(path, {"budget_cents": 1})

    changed = await tenant.patch(path, {"budget_cents": 2}, headers=headers)
    kept = (await tenant.get(path)).json()
    absent = await tenant.patch(f"/v1/projects/{uuid4()}", {"budget_cents": 2}, headers=headers)

    assert changed.status_code == status
    assert kept["budget_cents"] == (2 if status == 200 else 1)
    if status != 400:
        assert_refused(absent, 404, "not_found")


@pytest.mark.parametrize(
    ("if_match", "version", "status"),
    [
        ("*", None, 200),
        ('"2"', None, 200),
        ('"1", "2"', None, 200),
        ('"x","2"', None, 200),
        ('"2",', None, 200),
        (', ,"2"', None, 200),
        ('"1",, "3",', None, 412),
        (",", None, 400),
        ('"2"', 2, 200),
        ("*", 2, 200),
        ("*", 1, 409),
        ('"2"', 1, 409),
        ('"1"', 2, 412),
        ('"1", "3"', None, 412),
        ('"3"', None, 412),
        ('W/"2"', None, 412),
        ('"x"', None, 412),
        ('""', None, 412),
        ("2", None, 400),
        ('"2', None, 400),
        ("'2'", None, 400),
        ('"2" "3"', None, 400),
        ("", None, 400),
    ],
)
async def test_if_match_and_version_each_have_to_hold(tenant, if_match, version, status):
    row = await tenant.create("projects", name="Rocket")
    path = f"/v1/projects/{row['id']}"
    await tenant.patch(path, {"budget_cents": 1})
    body = {"budget_cents": 2} | ({} if version is None else {"version": version})

    answer = await tenant.patch(path, body, headers={"If-Match": if_match})

    codes = {400: "bad_request", 409: "version_conflict", 412: "precondition_failed"}
    if status != 200:
        assert_refused(answer, status, codes[status])
    assert answer.status_code == status
    stored = (await tenant.get(path)).json()
    assert stored["budget_cents"] == (2 if status == 200 else 1)


@pytest.mark.parametrize("version", [None, "2", 0, -1, 2.5, 2**31, True])
async def test_version_that_no_row_can_have_is_invalid(tenant, version):
    row = await tenant.create("projects", name="Rocket")

    refused = await tenant.patch(f"/v1/projects/{row['id']}", {"version": version})

    problem = assert_refused(refused, 422, "invalid")
    assert [fault["pointer"] for fault in problem["errors"]] == ["/version"]


async def test_version_is_no_value_of_a_new_row(tenant):
    refused = await tenant.post("/v1/projects", {"name": "Rocket", "version": 1})

    assert_refused(refused, 422, "invalid", {"/version": "unknown_field"})


@pytest.mark.parametrize(
    ("if_none_match", "status"),
    [
        ('"2"', 304),
        ('W/"2"', 304),
        ('"1", "2"', 304),
        ("*", 304),
        ('"1"', 200),
        ('"22"', 200),
        ('"x"', 200),
        ("2", 400),
    ],
)
async def test_read_of_a_known_version_sends_no_body(tenant, if_none_match, status):
    row = await tenant.create("projects", name="Rocket")
    path = f"/v1/projects/{row['id']}"
    await tenant.patch(path, {"budget_cents": 1})

    answer = await tenant.get(path, headers={"If-None-Match": if_none_match})

    assert answer.status_code == status
    if status == 304:
        assert (answer.content, answer.headers["etag"]) == (b"", '"2"')
        assert answer.headers["cache-control"] == "private, no-store"
    if status == 400:
        assert_refused(answer, 400, "bad_request")


async def test_one_of_many_parallel_changes_of_one_version_wins(tenant):
    row = await tenant.create("projects", name="Rocket")
    path = f"/v1/projects/{row['id']}"
    by_header = (
        tenant.patch(path, {"budget_cents": n}, headers={"If-Match": '"1"'}) for n in range(6)
    )
    by_body = (tenant.patch(path, {"budget_cents": n, "version": 1}) for n in range(6, 12))

    answers = await asyncio.gather(*by_header, *by_body)

    (winner,) = (answer for answer in answers if answer.status_code == 200)
    assert {answer.status_code for answer in answers[:6]} <= {200, 412}
    assert {answer.status_code for answer in answers[6:]} <= {200, 409}
    assert winner.json()["version"] == 2
    assert (await tenant.get(path)).json() == winner.json()


async def test_parallel_changes_of_different_fields_are_all_kept(tenant):
    row = await tenant.create("projects", name="Rocket")
    path = f"/v1/projects/{row['id']}"
    changes = [{"name": "Anvil"}, {"description": "Red"}, {"is_active": False}, {"budget_cents": 1}]

    await asyncio.gather(*(tenant.patch(path, change) for change in changes))

    stored = (await tenant.get(path)).json()
    assert stored["version"] == 5
    for change in changes:
        assert change.items() <= stored.items()
