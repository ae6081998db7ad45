"""Revert: a row set back to its state after an entry of its history, as one new change."""

import asyncio
from uuid import uuid4

import httpx
import pytest
from histories import entries, logged
from refusals import assert_refused

from saas.app import create_app
from saas.features.projects import Project, ProjectCreate, ProjectRead, ProjectUpdate
from saas.web.resource import Resource


def own(row):
    return {name: row[name] for name in ("name", "description", "is_active", "budget_cents")}


@pytest.fixture
async def row(tenant):
    """A project that was changed twice."""
    values = {"name": "Rocket", "description": "Red", "budget_cents": 2**53 + 1}
    row = await tenant.create("projects", **values)
    path = f"/v1/projects/{row['id']}"
    await tenant.patch(path, {"name": "Anvil", "description": None, "is_active": False})
    await tenant.patch(path, {"budget_cents": 7})
    return row


@pytest.fixture
def path(row):
    return f"/v1/projects/{row['id']}"


async def test_row_has_its_old_values_again_as_one_audited_change(tenant, row, path):
    created, _, last = await entries(tenant, path)

    answer = await tenant.post(f"{path}/revert", {"to": created}, headers={"X-Request-ID": "back"})

    back = answer.json()
    assert (answer.status_code, answer.headers["etag"]) == (200, '"4"')
    assert own(back) == own(row)
    assert (back["version"], back["created_at"]) == (4, row["created_at"])
    assert back["updated_at"] > row["updated_at"]
    assert (await tenant.get(path)).json() == back
    (entry, *_) = (await tenant.get(f"{path}/history")).json()["items"]
    assert (entry["action"], entry["request_id"]) == ("update", "back")
    assert entry["changes"]["name"] == {"old": "Anvil", "new": "Rocket"}
    again = await tenant.post(f"{path}/revert", {"to": last})
    assert (again.json()["name"], again.json()["budget_cents"]) == ("Anvil", 7)


async def test_caller_of_the_revert_is_its_author(tenant, member_with, path):
    created, *_ = await entries(tenant, path)

    answer = await member_with(tenant).post(f"{path}/revert", {"to": created})

    assert answer.json()["updated_by"] == f"member:{tenant.owner_id}"
    assert answer.json()["created_by"].startswith("key:")


async def test_state_that_is_the_present_one_changes_nothing(tenant, path):
    present = (await tenant.get(path)).json()
    before = await entries(tenant, path)

    answer = await tenant.post(f"{path}/revert", {"to": before[-1]})

    assert (answer.status_code, answer.headers["etag"]) == (200, '"3"')
    assert answer.json() == present
    assert await entries(tenant, path) == before


async def test_entry_of_anything_else_is_refused_like_an_absent_one(
    tenant, other_tenant, row, path
):
    same_id = {"X-Request-ID": "probe"}
    other = await tenant.create("projects", name="Other")
    foreign = await other_tenant.create("projects", name="Foreign")
    task = await tenant.create("tasks", project_id=row["id"], title="Fuel")
    strangers = [
        *await entries(tenant, f"/v1/projects/{other['id']}"),
        *await entries(tenant, f"/v1/tasks/{task['id']}"),
        *await entries(other_tenant, f"/v1/projects/{foreign['id']}"),
        row["id"],
    ]

    absent = await tenant.post(f"{path}/revert", {"to": str(uuid4())}, headers=same_id)

    assert_refused(absent, 422, "invalid", {"/to": "unknown_reference"})
    for to in strangers:
        answer = await tenant.post(f"{path}/revert", {"to": to}, headers=same_id)
        assert (answer.status_code, answer.content) == (422, absent.content)
    created, *_ = await entries(tenant, path)
    assert (await tenant.post(f"{path}/revert", {"to": created})).status_code == 200


async def test_row_of_another_tenant_is_as_absent_as_one_that_never_was(
    tenant, other_tenant, row, path
):
    same_id = {"X-Request-ID": "probe"}
    created, *_ = await entries(tenant, path)
    own_row = await other_tenant.create("projects", name="Own")
    (own_entry,) = await entries(other_tenant, f"/v1/projects/{own_row['id']}")

    async def attempt(id, to):
        return await other_tenant.post(f"/v1/projects/{id}/revert", {"to": to}, headers=same_id)

    absent = await attempt(uuid4(), own_entry)
    assert_refused(absent, 404, "not_found")
    for hard in (False, True):
        if hard:
            await tenant.delete(f"{path}?hard=true")
        for id in (row["id"], "no-id"):
            for to in (created, own_entry):
                answer = await attempt(id, to)
                assert (answer.status_code, answer.content) == (404, absent.content)
    assert (await attempt(own_row["id"], own_entry)).status_code == 200


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/to"),
        ({"to": None}, "/to"),
        ({"to": "yesterday"}, "/to"),
        ({"to": 1}, "/to"),
        ({"to": str(uuid4()), "version": 3}, "/version"),
    ],
)
async def test_body_names_one_entry_and_nothing_else(tenant, path, body, pointer):
    problem = assert_refused(await tenant.post(f"{path}/revert", body), 422, "invalid")

    assert [fault["pointer"] for fault in problem["errors"]] == [pointer]


async def test_stale_precondition_is_refused_and_the_present_one_holds(tenant, path):
    created, *_ = await entries(tenant, path)

    async def attempt(tag):
        return await tenant.post(f"{path}/revert", {"to": created}, headers={"If-Match": tag})

    assert assert_refused(await attempt('"1"'), 412, "precondition_failed")["current_version"] == 3
    assert_refused(await attempt('"1", "2"'), 412, "precondition_failed")
    assert_refused(await attempt("3"), 400, "bad_request")
    assert (await attempt('"1", "3"')).headers["etag"] == '"4"'
    assert (await attempt('"4"')).headers["etag"] == '"4"'


async def test_live_row_goes_back_to_being_deleted_with_the_right_to_write(
    tenant, member_with, path
):
    writer = member_with(tenant, permissions=["projects:read", "projects:write"])
    await tenant.delete(path)
    deletion = (await entries(tenant, path))[-1]
    await tenant.post(f"{path}/restore")
    await tenant.patch(path, {"name": "Third"})

    answer = await writer.post(f"{path}/revert", {"to": deletion})

    row = answer.json()
    assert (answer.status_code, row["name"], row["version"]) == (200, "Anvil", 7)
    assert row["deleted_by"] == row["updated_by"] == f"member:{tenant.owner_id}"
    assert row["deleted_at"] == row["updated_at"]
    assert_refused(await tenant.get(path), 404, "not_found")
    (newest, *_) = (await tenant.get(f"{path}/history")).json()["items"]
    assert newest["action"] == "soft_delete"


@pytest.mark.parametrize("query", ["", "?hard=true"])
async def test_deleted_row_comes_back_only_with_the_right_to_purge(
    tenant, member_with, row, path, query
):
    created, *_ = await entries(tenant, path)
    await tenant.delete(path + query)
    writer = member_with(tenant, permissions=["projects:read", "projects:write"])
    purger = member_with(tenant, permissions=["projects:write", "projects:purge"])
    reader = member_with(tenant, permissions=["projects:read", "projects:purge"])

    by_writer = await writer.post(f"{path}/revert", {"to": created})
    by_reader = await reader.post(f"{path}/revert", {"to": created})
    by_purger = await purger.post(f"{path}/revert", {"to": created})

    refused = assert_refused(by_writer, 403, "permission_denied")
    assert refused["permission"] == "projects:purge"
    refused = assert_refused(by_reader, 403, "permission_denied")
    assert refused["permission"] == "projects:write"
    assert by_purger.status_code == 200
    assert own(by_purger.json()) == own(row)
    assert (await tenant.get(path)).json() == by_purger.json()


async def test_soft_deleted_row_is_restored_and_changed_at_once(tenant, row, path):
    created, *_ = await entries(tenant, path)
    await tenant.delete(path)

    back = (await tenant.post(f"{path}/revert", {"to": created})).json()

    assert own(back) == own(row)
    assert (back["version"], back["deleted_at"], back["deleted_by"]) == (5, None, None)
    (newest, *_) = (await tenant.get(f"{path}/history")).json()["items"]
    assert newest["action"] == "restore"
    assert newest["changes"]["name"] == {"old": "Anvil", "new": "Rocket"}


async def test_purged_row_is_there_again_with_its_id_and_creation(tenant, member_with, row, path):
    await tenant.delete(f"{path}?hard=true")
    created, _, _, purge = await logged(tenant, row["id"])

    stale = await tenant.post(f"{path}/revert", {"to": created}, headers={"If-Match": '"1"'})
    gone = await tenant.post(f"{path}/revert", {"to": purge})
    strange = await tenant.post(f"{path}/revert", {"to": str(uuid4())})
    answer = await member_with(tenant).post(
        f"{path}/revert", {"to": created}, headers={"If-Match": '"3"'}
    )

    back = answer.json()
    assert assert_refused(stale, 412, "precondition_failed")["current_version"] == 3
    assert "gone for good" in assert_refused(gone, 409, "conflict")["detail"]
    assert_refused(strange, 422, "invalid", {"/to": "unknown_reference"})
    assert (answer.status_code, answer.headers["etag"]) == (200, '"4"')
    kept = ("id", "created_at", "created_by", "deleted_at", "deleted_by")
    assert own(back) == own(row)
    assert [back[name] for name in kept] == [row[name] for name in kept]
    assert back["updated_by"] == f"member:{tenant.owner_id}"
    history = (await tenant.get(f"{path}/history")).json()["items"]
    assert [entry["action"] for entry in history] == [
        *("insert", "delete", "update", "update", "insert")
    ]


async def test_of_parallel_reverts_of_a_purged_row_one_inserts_it(tenant, row, path):
    created, *_ = await entries(tenant, path)
    await tenant.delete(f"{path}?hard=true")

    answers = await asyncio.gather(
        *(tenant.post(f"{path}/revert", {"to": created}) for _ in range(5))
    )

    assert {(answer.status_code, answer.json()["version"]) for answer in answers} == {(200, 4)}
    assert len(await logged(tenant, row["id"])) == 5


async def test_of_parallel_reverts_of_one_version_one_is_done(tenant, path):
    for number in range(6):
        await tenant.patch(path, {"budget_cents": number})
    present = '"9"'

    answers = await asyncio.gather(
        *(
            tenant.post(f"{path}/revert", {"to": to}, headers={"If-Match": present})
            for to in (await entries(tenant, path))[:-1]
        )
    )

    assert sorted(answer.status_code for answer in answers) == [200, *[412] * 7]


async def test_deleted_row_that_gets_another_deleted_state_keeps_its_deletion(
    tenant, member_with, path
):
    await tenant.delete(path)
    first = (await entries(tenant, path))[-1]
    await tenant.post(f"{path}/restore")
    await tenant.patch(path, {"name": "Third"})
    await member_with(tenant).delete(path)
    (deletion, *_) = (await tenant.get(f"{path}/history")).json()["items"]

    row = (await tenant.post(f"{path}/revert", {"to": first})).json()

    assert (row["name"], row["version"]) == ("Anvil", 8)
    assert row["deleted_at"] == deletion["at"]
    assert row["deleted_by"] == f"member:{tenant.owner_id}"
    assert row["updated_by"].startswith("key:")


async def test_reverts_and_changes_in_parallel_leave_an_unbroken_chain(tenant, path):
    created, changed, _ = await entries(tenant, path)
    work = [tenant.post(f"{path}/revert", {"to": to}) for to in (created, changed) * 4]
    work += [tenant.patch(path, {"budget_cents": number}) for number in range(8)]

    answers = await asyncio.gather(*work)

    assert {answer.status_code for answer in answers} == {200}
    history = (await tenant.get(f"{path}/history?sort=id&limit=100")).json()["items"]
    state = {}
    for entry in history:
        for field, change in entry["changes"].items():
            assert state.get(field) == change["old"]
            state[field] = change["new"]
    row = (await tenant.get(path)).json()
    assert own(row) == {name: state.get(name) for name in own(row)}
    assert row["version"] == len(history)


@pytest.mark.parametrize("query", ["", "?hard=true"])
async def test_name_that_is_taken_by_now_is_a_conflict(tenant, path, query):
    created, *_ = await entries(tenant, path)
    rival = await tenant.create("projects", name="Rocket")

    live = await tenant.post(f"{path}/revert", {"to": created})
    await tenant.delete(path + query)
    deleted = await tenant.post(f"{path}/revert", {"to": created})
    await tenant.delete(f"/v1/projects/{rival['id']}")
    free = await tenant.post(f"{path}/revert", {"to": created})

    for refused in (live, deleted):
        assert_refused(refused, 409, "already_exists", {"/name": "taken"})
    assert (free.status_code, free.json()["name"]) == (200, "Rocket")


async def test_resource_that_demands_a_precondition_demands_it_here_too(
    tenant, settings, path, row
):
    created, *_ = await entries(tenant, path)
    careful = Resource(
        *(Project, ProjectCreate, ProjectUpdate, ProjectRead),
        requires_match=True,
        natural_key=("name",),
    )
    app = create_app(settings, (careful,))
    transport = httpx.ASGITransport(app)
    async with app.app.lifespan(), httpx.AsyncClient(transport=transport) as http:
        caller = type(tenant)(http, tenant.key, tenant.body)
        target = f"http://test{path}/revert"

        without = await caller.post(target, {"to": created})
        fresh = await caller.post(target, {"to": created}, headers={"If-Match": '"3"'})
        await caller.delete(f"http://test{path}?hard=true", headers={"If-Match": '"4"'})
        purged = await caller.post(target, {"to": created}, headers={"If-Match": '"4"'})
        blind = {"items": [{"op": "upsert", "data": {"name": "Rocket", "budget_cents": 1}}]}
        upserted = await caller.post("http://test/v1/projects/batch", blind)
        skipped = await caller.post(
            "http://test/v1/projects/batch", {**blind, "on_conflict": "skip"}
        )

    assert_refused(without, 428, "precondition_required")
    assert (fresh.status_code, fresh.headers["etag"]) == (200, '"4"')
    assert (purged.status_code, purged.headers["etag"]) == (200, '"5"')
    assert own(purged.json()) == own(row)
    assert_refused(upserted, 428, "precondition_required", {"/items/0": "precondition_required"})
    assert skipped.status_code == 200, skipped.text
    assert skipped.json()["results"][0]["status"] == "skipped"
