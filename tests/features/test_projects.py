"""Projects through their whole life: create, read, change, delete, restore, purge."""

import asyncio
from uuid import uuid4

import pytest
from refusals import assert_refused

OWN_FIELDS = {"name", "description", "is_active", "budget_cents"}
COMMON_FIELDS = {"id", "version", "created_at", "created_by", "updated_at", "updated_by"}
DELETION_FIELDS = {"deleted_at", "deleted_by"}


async def test_created_project_has_location_tag_and_defaults(tenant):
    answer = await tenant.post("/v1/projects", {"name": "Rocket"})

    row = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/v1/projects/{row['id']}"
    assert answer.headers["etag"] == '"1"'
    assert row.keys() == OWN_FIELDS | COMMON_FIELDS | DELETION_FIELDS
    own = {name: row[name] for name in OWN_FIELDS}
    assert own == {"name": "Rocket", "description": None, "is_active": True, "budget_cents": None}
    assert (row["version"], row["deleted_at"], row["deleted_by"]) == (1, None, None)
    assert row["created_by"] == row["updated_by"] == f"key:{tenant.body['api_key']['id']}"
    assert row["created_at"] == row["updated_at"]
    assert row["created_at"].endswith("Z")


async def test_project_reads_back_as_it_was_written(tenant):
    values = {
        "name": "Ünï 🚀",
        "description": "two\nlines and a \\ backslash",
        "is_active": False,
        "budget_cents": -(2**63),
    }
    created = await tenant.post("/v1/projects", values)

    read = await tenant.get(created.headers["location"])

    assert read.status_code == 200
    assert read.json() == created.json()
    assert values.items() <= read.json().items()
    assert read.headers["etag"] == created.headers["etag"]


async def test_name_is_taken_only_in_its_tenant_and_only_while_its_row_lives(tenant, other_tenant):
    row = await tenant.create("projects", name="Rocket")
    other = await tenant.create("projects", name="Anvil")

    again = await tenant.post("/v1/projects", {"name": "Rocket"})
    renamed = await tenant.patch(f"/v1/projects/{other['id']}", {"name": "Rocket"})
    elsewhere = await other_tenant.post("/v1/projects", {"name": "Rocket"})
    in_other_case = await tenant.post("/v1/projects", {"name": "rocket"})
    await tenant.delete(f"/v1/projects/{row['id']}")
    after_deletion = await tenant.post("/v1/projects", {"name": "Rocket"})

    for refused in (again, renamed):
        assert_refused(refused, 409, "already_exists", {"/name": "taken"})
    assert elsewhere.status_code == in_other_case.status_code == after_deletion.status_code == 201


async def test_one_of_many_parallel_creations_with_one_name_wins(tenant):
    creations = (tenant.post("/v1/projects", {"name": "Rocket"}) for _ in range(12))

    answers = await asyncio.gather(*creations)

    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 11
    assert len((await tenant.get("/v1/projects")).json()["items"]) == 1


async def test_patch_changes_what_it_names_and_leaves_the_rest(tenant):
    row = await tenant.create("projects", name="Rocket", description="Red", budget_cents=5)

    answer = await tenant.patch(f"/v1/projects/{row['id']}", {"budget_cents": 7})

    changed = answer.json()
    assert answer.status_code == 200
    assert answer.headers["etag"] == '"2"'
    assert changed["updated_at"] > row["updated_at"]
    expected = row | {"budget_cents": 7, "version": 2, "updated_at": changed["updated_at"]}
    assert changed == expected
    assert (await tenant.get(f"/v1/projects/{row['id']}")).json() == expected


async def test_null_clears_a_nullable_field_and_is_refused_for_another(tenant):
    row = await tenant.create("projects", name="Rocket", description="Red", budget_cents=5)
    path = f"/v1/projects/{row['id']}"

    cleared = await tenant.patch(path, {"description": None, "budget_cents": None})
    refused = await tenant.patch(path, {"name": None, "is_active": None})

    assert cleared.status_code == 200
    assert (cleared.json()["description"], cleared.json()["budget_cents"]) == (None, None)
    assert_refused(refused, 422, "invalid", {"/name": "wrong_type", "/is_active": "wrong_type"})


@pytest.mark.parametrize("body", [{}, {"name": "Rocket", "description": None}, {"version": 1}])
async def test_patch_that_changes_nothing_keeps_the_version_and_writes_no_audit_entry(tenant, body):
    row = await tenant.create("projects", name="Rocket")
    path = f"/v1/projects/{row['id']}"

    answer = await tenant.patch(path, body)

    assert answer.status_code == 200
    assert answer.json() == row
    assert answer.headers["etag"] == '"1"'
    assert len((await tenant.get(f"{path}/history")).json()["items"]) == 1


async def test_merge_patch_is_taken_by_its_own_media_type(tenant):
    row = await tenant.create("projects", name="Rocket", description="Red")
    headers = {"Content-Type": "application/merge-patch+json"}

    answer = await tenant(
        "PATCH", f"/v1/projects/{row['id']}", content=b'{"description":null}', headers=headers
    )
    created = await tenant("POST", "/v1/projects", content=b'{"name":"Anvil"}', headers=headers)

    assert answer.status_code == 200
    assert answer.json()["description"] is None
    assert_refused(created, 415, "unsupported_media_type")


async def test_deleted_project_leaves_lists_and_reads_but_not_the_lists_of_deleted_rows(tenant):
    row = await tenant.create("projects", name="Rocket")
    kept = await tenant.create("projects", name="Anvil")
    path = f"/v1/projects/{row['id']}"

    answer = await tenant.delete(path)

    assert (answer.status_code, answer.content) == (204, b"")
    assert [item["id"] for item in (await tenant.get("/v1/projects")).json()["items"]] == [
        kept["id"]
    ]
    (deleted,) = (await tenant.get("/v1/projects?deleted=only")).json()["items"]
    assert (deleted["id"], deleted["version"]) == (row["id"], 2)
    assert deleted["deleted_by"] == f"key:{tenant.body['api_key']['id']}"
    assert deleted["deleted_at"] > row["created_at"]
    for refused in (
        await tenant.get(path),
        await tenant.patch(path, {"name": "Anew"}),
        await tenant.delete(path),
    ):
        assert_refused(refused, 404, "not_found")


async def test_restore_brings_a_deleted_project_back_once(tenant):
    row = await tenant.create("projects", name="Rocket", budget_cents=5)
    path = f"/v1/projects/{row['id']}"
    while_it_lives = await tenant.post(f"{path}/restore")
    await tenant.delete(path)

    answer = await tenant.post(f"{path}/restore")
    again = await tenant.post(f"{path}/restore")

    restored = answer.json()
    assert answer.status_code == 200
    assert answer.headers["etag"] == '"3"'
    assert restored == row | {"version": 3, "updated_at": restored["updated_at"]}
    assert (await tenant.get(path)).json() == restored
    for refused in (while_it_lives, again):
        assert_refused(refused, 409, "not_deleted")


async def test_one_of_many_parallel_restores_wins(tenant):
    row = await tenant.create("projects", name="Rocket")
    await tenant.delete(f"/v1/projects/{row['id']}")

    restores = (tenant.post(f"/v1/projects/{row['id']}/restore") for _ in range(8))
    answers = await asyncio.gather(*restores)

    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7
    assert (await tenant.get(f"/v1/projects/{row['id']}")).json()["version"] == 3


async def test_restore_is_refused_while_the_name_is_taken(tenant):
    row = await tenant.create("projects", name="Rocket")
    await tenant.delete(f"/v1/projects/{row['id']}")
    successor = await tenant.create("projects", name="Rocket")

    while_taken = await tenant.post(f"/v1/projects/{row['id']}/restore")
    await tenant.delete(f"/v1/projects/{successor['id']}")
    while_free = await tenant.post(f"/v1/projects/{row['id']}/restore")

    assert_refused(while_taken, 409, "already_exists", {"/name": "taken"})
    assert while_free.status_code == 200


@pytest.mark.parametrize("deleted_before", [False, True])
async def test_hard_delete_leaves_nothing_to_restore(tenant, deleted_before):
    row = await tenant.create("projects", name="Rocket")
    path = f"/v1/projects/{row['id']}"
    if deleted_before:
        await tenant.delete(path)

    answer = await tenant.delete(f"{path}?hard=true")

    assert (answer.status_code, answer.content) == (204, b"")
    assert (await tenant.get("/v1/projects?deleted=include")).json()["items"] == []
    for refused in (
        await tenant.get(path),
        await tenant.get(f"{path}/history"),
        await tenant.post(f"{path}/restore"),
        await tenant.delete(f"{path}?hard=true"),
    ):
        assert_refused(refused, 404, "not_found")


@pytest.mark.parametrize("query", ["hard=1", "hard=", "hard=TRUE", "soft=true"])
async def test_delete_with_a_query_it_does_not_know_deletes_nothing(tenant, query):
    row = await tenant.create("projects", name="Rocket")

    refused = await tenant.delete(f"/v1/projects/{row['id']}?{query}")

    assert_refused(refused, 400, "bad_request")
    assert (await tenant.get(f"/v1/projects/{row['id']}")).json() == row


async def test_absent_deleted_malformed_and_foreign_ids_get_one_answer(tenant, other_tenant):
    deleted = await tenant.create("projects", name="Deleted")
    await tenant.delete(f"/v1/projects/{deleted['id']}")
    foreign = await other_tenant.create("projects", name="Foreign")
    malformed = ("x", "%00", "a%2Fb", "%FF", foreign["id"] + "0", "1" * 2_000)
    same_id = {"X-Request-ID": "one-for-all"}
    asks = [("GET", "", None), ("PATCH", "", {"name": "Mine"}), ("DELETE", "", None)]
    asks += [("DELETE", "?hard=true", None), ("GET", "/history", None), ("POST", "/restore", None)]

    for method, rest, body in asks:
        ids = [str(uuid4()), foreign["id"], *malformed]
        if rest == "" and method != "POST":
            ids.append(deleted["id"])
        answers = [
            await tenant(method, f"/v1/projects/{id}{rest}", json=body, headers=same_id)
            for id in ids
        ]
        assert_refused(answers[0], 404, "not_found")
        assert {(answer.status_code, answer.content) for answer in answers} == {
            (404, answers[0].content)
        }
        # What is left of the rate tells of the caller's own requests, and is not asked about where
        # a path leads nowhere.
        limits = {"ratelimit": "", "ratelimit-policy": ""}
        shown = [{**answer.headers, **limits} for answer in answers]
        assert len({str(sorted(headers.items())) for headers in shown}) == 1

    assert (await other_tenant.get(f"/v1/projects/{foreign['id']}")).json() == foreign


ROLES = {"viewer": (403, 403, 403), "member": (201, 204, 403), "admin": (201, 204, 204)}


@pytest.mark.parametrize("role", ROLES)
async def test_role_decides_who_reads_writes_and_purges(tenant, member_with, role):
    soft = await tenant.create("projects", name="Soft")
    hard = await tenant.create("projects", name="Hard")
    caller = member_with(tenant, role=role)

    created = await caller.post("/v1/projects", {"name": "New"})
    deleted = await caller.delete(f"/v1/projects/{soft['id']}")
    purged = await caller.delete(f"/v1/projects/{hard['id']}?hard=true")
    with_deleted = await caller.get("/v1/projects?deleted=include")

    assert (created.status_code, deleted.status_code, purged.status_code) == ROLES[role]
    assert with_deleted.status_code == (403 if role == "viewer" else 200)
    for refused in (created, deleted, purged, with_deleted):
        if refused.status_code == 403:
            assert_refused(refused, 403, "permission_denied")
    assert (await caller.get("/v1/projects")).status_code == 200
    assert (await caller.get(f"/v1/projects/{soft['id']}/history")).status_code == 200
