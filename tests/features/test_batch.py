"""`POST /v1/R/batch`: many changes in one call, all or each on its own."""

import asyncio
from uuid import uuid4

import pytest
from batches import batch, created, failures, names, statuses
from refusals import assert_refused


async def test_all_operations_work_in_one_atomic_call(tenant):
    changed = await tenant.create("projects", name="Changed")
    gone = await tenant.create("projects", name="Gone")
    back = await tenant.create("projects", name="Back")
    await tenant.delete(f"/v1/projects/{back['id']}")

    answer = await batch(
        tenant,
        [
            *created("New", "Newer", budget_cents=7),
            {"op": "update", "id": changed["id"], "version": 1, "data": {"is_active": False}},
            {"op": "delete", "id": gone["id"]},
            {"op": "restore", "id": back["id"]},
            {"op": "upsert", "data": {"name": "Changed", "budget_cents": 5}},
            {"op": "upsert", "data": {"name": "Upserted"}},
        ],
    )

    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["succeeded"], body["failed"]) == (7, 0)
    assert statuses(answer) == [
        *("created", "created", "updated", "deleted", "restored", "updated", "created")
    ]
    assert [result["index"] for result in body["results"]] == list(range(7))
    row = (await tenant.get(f"/v1/projects/{changed['id']}")).json()
    assert (row["version"], row["is_active"], row["budget_cents"]) == (3, False, 5)
    new = (await tenant.get(f"/v1/projects/{body['results'][0]['id']}")).json()
    assert (new["name"], new["budget_cents"], new["version"]) == ("New", 7, 1)
    assert new["created_by"] == new["updated_by"] == row["updated_by"]
    assert await names(tenant) == {"New", "Newer", "Changed", "Back", "Upserted"}


async def test_one_bad_row_of_an_atomic_batch_leaves_nothing(tenant):
    await tenant.create("projects", name="Taken")
    audited = (await tenant.get("/v1/audit?include_total=true")).json()["total"]

    answer = await batch(tenant, created("One", "Two", "Taken", "Three"))

    assert_refused(answer, 409, "already_exists", {"/items/2/data/name": "taken"})
    assert await names(tenant) == {"Taken"}
    assert (await tenant.get("/v1/audit?include_total=true")).json()["total"] == audited


async def test_partial_batch_keeps_the_good_rows_and_tells_each_bad_one(tenant, other_tenant):
    mine = await tenant.create("projects", name="Mine")
    foreign = await other_tenant.create("projects", name="Foreign")
    gone = await tenant.create("projects", name="Gone")
    await tenant.delete(f"/v1/projects/{gone['id']}")

    answer = await batch(
        tenant,
        [
            *created("Good", "Mine", "Good too", "Good"),
            {"op": "create", "data": {"name": "x"}},
            {"op": "create", "data": {"name": "Wrong", "budget_cents": "7", "id": str(uuid4())}},
            {"op": "update", "id": mine["id"], "version": 9, "data": {"is_active": False}},
            {"op": "update", "id": foreign["id"], "data": {"is_active": False}},
            {"op": "update", "id": mine["id"], "data": {"is_active": False}},
            {"op": "delete", "id": gone["id"]},
            {"op": "delete", "id": "no-id"},
            {"op": "restore", "id": mine["id"]},
            {"op": "explode"},
            {"op": "update", "id": mine["id"], "data": {"is_active": False}},
        ],
        mode="partial",
    )

    assert answer.status_code == 207, answer.text
    assert failures(answer) == {
        1: ("already_exists", {"/items/1/data/name": "taken"}),
        3: ("already_exists", {"/items/3/data/name": "taken"}),
        4: ("invalid", {"/items/4/data/name": "too_short"}),
        5: ("invalid", {"/items/5/data/budget_cents": "wrong_type"}),
        6: ("version_conflict", {"/items/6": "version_conflict"}),
        7: ("not_found", {"/items/7": "not_found"}),
        9: ("not_found", {"/items/9": "not_found"}),
        10: ("invalid", {"/items/10/id": "invalid_format"}),
        11: ("not_deleted", {"/items/11": "not_deleted"}),
        12: ("invalid", {"/items/12/op": "unknown_value"}),
    }
    assert statuses(answer)[8] == "updated"
    assert statuses(answer)[13] == "skipped"
    assert answer.json()["results"][6]["error"]["current_version"] == 1
    assert (answer.json()["succeeded"], answer.json()["failed"]) == (4, 10)
    assert await names(tenant) == {"Good", "Good too", "Mine"}
    assert (await other_tenant.get(f"/v1/projects/{foreign['id']}")).json() == foreign


async def test_dangling_references_fail_alone(tenant):
    project = await tenant.create("projects", name="Parent")
    good = [
        {"op": "create", "data": {"project_id": project["id"], "title": f"T{n}"}} for n in range(5)
    ]
    absent = {"op": "create", "data": {"project_id": str(uuid4()), "title": "Lost"}}
    assigned = {"project_id": project["id"], "title": "Whose", "assignee_id": str(uuid4())}

    answer = await batch(
        tenant,
        [*good[:2], absent, {"op": "create", "data": assigned}, *good[2:]],
        mode="partial",
        resource="tasks",
    )

    assert failures(answer) == {
        2: ("invalid", {"/items/2/data/project_id": "unknown_reference"}),
        3: ("invalid", {"/items/3/data/assignee_id": "unknown_reference"}),
    }
    assert answer.json()["succeeded"] == 5
    assert len((await tenant.get("/v1/tasks")).json()["items"]) == 5


async def test_row_that_only_the_database_refuses_fails_alone(tenant):
    """A taken name fails the UPDATE of the whole set, and PostgreSQL does not say for which row."""
    await tenant.create("projects", name="Taken")
    rows = [await tenant.create("projects", name=f"Old {n}") for n in range(4)]
    wishes = ["New 0", "Taken", "New 2", "New 2"]
    items = [
        {"op": "update", "id": row["id"], "data": {"name": name}}
        for row, name in zip(rows, wishes, strict=True)
    ]

    refused = await batch(tenant, items)
    kept = await batch(tenant, items, mode="partial")

    assert_refused(refused, 409, "already_exists", {"/items/1/data/name": "taken"})
    taken = {n: ("already_exists", {f"/items/{n}/data/name": "taken"}) for n in (1, 3)}
    assert failures(kept) == taken
    assert await names(tenant) == {"Taken", "New 0", "New 2", "Old 1", "Old 3"}


async def test_same_row_may_be_changed_again_and_again_in_order(tenant):
    row = await tenant.create("projects", name="First")
    path = f"/v1/projects/{row['id']}"

    answer = await batch(
        tenant,
        [
            {"op": "update", "id": row["id"], "version": 1, "data": {"name": "Second"}},
            {"op": "update", "id": row["id"], "version": 2, "data": {"name": "Third"}},
            {"op": "create", "data": {"name": "First"}},
            {"op": "delete", "id": row["id"]},
            {"op": "restore", "id": row["id"]},
        ],
    )

    assert answer.status_code == 200, answer.text
    assert (await tenant.get(path)).json()["version"] == 5
    assert await names(tenant) == {"First", "Third"}


async def test_every_changed_row_is_in_the_log_with_its_actor(tenant):
    made = await batch(tenant, created(*(f"P{n:02}" for n in range(50))))
    ids = [result["id"] for result in made.json()["results"]]

    changed = await batch(
        tenant, [{"op": "update", "id": id, "data": {"is_active": False}} for id in ids]
    )

    answer = await tenant.get("/v1/audit?entity=projects&limit=100&sort=id")
    entries = answer.json()["items"]
    for entry in entries:
        request = made if entry["action"] == "insert" else changed
        assert entry["request_id"] == request.headers["x-request-id"]
        assert entry["actor"].startswith("key:")
    assert [entry["entity_id"] for entry in entries[:50]] == ids
    assert {entry["entity_id"] for entry in entries[50:]} == set(ids)
    assert entries[50]["changes"] == {"is_active": {"old": True, "new": False}}
    assert entries[0]["changes"]["name"] == {"old": None, "new": "P00"}
    assert len(entries) == 100


async def test_thousand_rows_are_one_batch_and_one_more_are_refused(tenant):
    items = created(*(f"Row {n}" for n in range(1_000)))

    answer = await batch(tenant, items)

    assert answer.json()["succeeded"] == 1_000
    total = (await tenant.get("/v1/projects?include_total=true")).json()["total"]
    assert total == 1_000
    too_many = await batch(tenant, [*items, *items[:1]])
    assert_refused(too_many, 422, "invalid", {"/items": "too_long"})
    assert_refused(await batch(tenant, []), 422, "invalid", {"/items": "too_short"})


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        ({}, {"/items": "missing_field"}),
        ({"items": created("Good"), "mode": "some"}, {"/mode": "unknown_value"}),
        ({"items": created("Good"), "on_conflict": "x"}, {"/on_conflict": "unknown_value"}),
        ({"items": created("Good"), "more": 1}, {"/more": "unknown_field"}),
        ({"items": [1]}, {"/items/0": "wrong_type"}),
        ({"items": [{}]}, {"/items/0/op": "missing_field"}),
        ({"items": [{"op": "merge"}]}, {"/items/0/op": "unknown_value"}),
        ({"items": [{"op": "create"}]}, {"/items/0/data": "missing_field"}),
        ({"items": [{"op": "delete"}]}, {"/items/0/id": "missing_field"}),
        (
            {"items": [*created("x"), *created("Good"), {"op": "update", "data": {}, "id": 1}]},
            {"/items/0/data/name": "too_short", "/items/2/id": "wrong_type"},
        ),
        ({"items": created("NUL \0")}, {"/items/0/data/name": "invalid_text"}),
        (
            {"items": created("Good", tenant_id=str(uuid4()))},
            {"/items/0/data/tenant_id": "unknown_field"},
        ),
    ],
)
async def test_malformed_batch_names_every_fault_and_stores_nothing(tenant, body, faults):
    answer = await tenant.post("/v1/projects/batch", body)

    assert_refused(answer, 422, "invalid", faults)
    assert await names(tenant) == set()


async def test_of_many_faults_it_is_told_how_many_there_are(tenant):
    refused = await batch(tenant, created(*("x" * 120)))

    assert (refused.status_code, len(refused.json()["errors"])) == (422, 50)
    assert refused.json()["detail"].endswith("They are the first 50 of 120.")


async def test_bad_text_in_one_row_of_a_partial_batch_fails_alone(tenant):
    answer = await batch(tenant, created("Good", "NUL \0", "Too"), mode="partial")

    assert failures(answer) == {1: ("invalid", {"/items/1/data/name": "invalid_text"})}
    assert await names(tenant) == {"Good"} | {"Too"}


async def test_batch_needs_the_right_to_write(tenant, member_with):
    viewer = member_with(tenant, role="viewer")
    member = member_with(tenant, role="member")

    assert_refused(await batch(viewer, created("No")), 403, "permission_denied")
    assert (await batch(member, created("Yes"))).status_code == 200


async def test_rows_of_another_tenant_are_out_of_reach_of_every_operation(tenant, other_tenant):
    live = await other_tenant.create("projects", name="Live")
    gone = await other_tenant.create("projects", name="Gone")
    await other_tenant.delete(f"/v1/projects/{gone['id']}")
    before = (await other_tenant.get("/v1/projects?deleted=include")).json()

    for item in (
        {"op": "update", "id": live["id"], "data": {"name": "Stolen"}},
        {"op": "update", "id": live["id"], "data": {}},
        {"op": "delete", "id": live["id"]},
        {"op": "restore", "id": gone["id"]},
    ):
        absent = item | {"id": str(uuid4())}
        for chosen in ([item], [item, absent], [absent, item]):
            refused = await batch(tenant, chosen, mode="partial")
            assert {code for code, _ in failures(refused).values()} == {"not_found"}
            assert refused.json()["failed"] == len(chosen)
        assert_refused(await batch(tenant, [item]), 404, "not_found")
    mine = await batch(tenant, [{"op": "upsert", "data": {"name": "Live"}}])
    assert statuses(mine) == ["created"]

    assert (await other_tenant.get("/v1/projects?deleted=include")).json() == before


@pytest.mark.parametrize("mode", ["atomic", "partial"])
async def test_parallel_updates_and_upserts_of_the_same_rows_all_succeed(tenant, mode):
    made = await batch(tenant, created(*(f"Row {99 - i:02}" for i in range(100))))
    ids = [result["id"] for result in made.json()["results"]]
    upserts = [{"op": "upsert", "data": {"name": f"Row {99 - i:02}"}} for i in range(100)]

    def items(number):
        changes = {"budget_cents": number}, {"description": f"{number}"}
        updates = [{"op": "update", "id": id, "data": changes[i // 50]} for i, id in enumerate(ids)]
        return ((upserts, updates)[number % 2])[:: (1, -1)[number // 2 % 2]]

    answers = await asyncio.gather(*(batch(tenant, items(n), mode=mode) for n in range(8)))

    assert {answer.status_code for answer in answers} == {207 if mode == "partial" else 200}
    assert {status for answer in answers for status in statuses(answer)} <= {"updated", "skipped"}


@pytest.mark.parametrize("mode", ["atomic", "partial"])
async def test_batch_that_is_nested_without_end_is_refused(tenant, mode):
    deep = b"[" * 10_000 + b"]" * 10_000
    body = b'{"mode": "%b", "items": [{"op": "create", "data": %b}]}' % (mode.encode(), deep)

    refused = await tenant(
        "POST",
        "/v1/projects/batch",
        content=body,
        headers={"Content-Type": "application/json"},
    )

    assert_refused(refused, 422, "invalid", {"/items/0/data": "wrong_type"})


async def test_version_stands_beside_op_and_not_among_the_fields(tenant):
    row = await tenant.create("projects", name="Twice")
    item = {"op": "update", "id": row["id"], "version": 1}

    refused = await batch(tenant, [item | {"data": {"is_active": False, "version": 1}}])
    taken = await batch(tenant, [item | {"data": {"is_active": False}}])

    assert_refused(refused, 422, "invalid", {"/items/0/data/version": "unknown_field"})
    assert statuses(taken) == ["updated"]


@pytest.mark.parametrize("op", ["restore", "update", "delete"])
async def test_in_a_set_too_rows_of_another_tenant_are_as_absent_as_unknown_ones(
    tenant, other_tenant, op
):
    async def twelve(owner):
        made = await batch(owner, created(*(f"Row {n}" for n in range(12))))
        ids = [result["id"] for result in made.json()["results"]]
        if op == "restore":
            await batch(owner, [{"op": "delete", "id": id} for id in ids])
        return ids

    mine, foreign = await twelve(tenant), await twelve(other_tenant)
    before = (await other_tenant.get("/v1/projects?deleted=include")).json()["items"]
    ids = [*mine, *foreign, *(str(uuid4()) for _ in range(12))]
    items = [{"op": op, "id": id} for id in ids]
    expected = {n: ("not_found", {f"/items/{n}": "not_found"}) for n in range(12, 36)}
    if op == "update":
        # The first takes the name of the second, so that the set fails and its halves are tried.
        for item, name in zip(items, ["Row 1", *ids[1:]], strict=True):
            item["data"] = {"name": name}
        expected[0] = ("already_exists", {"/items/0/data/name": "taken"})

    answer = await batch(tenant, items, mode="partial")

    assert failures(answer) == expected
    assert (await other_tenant.get("/v1/projects?deleted=include")).json()["items"] == before
