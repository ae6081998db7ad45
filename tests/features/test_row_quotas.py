"""A tenant has exactly as many live rows of a resource as its plan allows, however they come."""

import asyncio

import msgspec
import pytest
from histories import logged

from saas.app import create_app

MOST = 10


@pytest.fixture(scope="module")
async def fresh(settings, serve):
    """A client of an app that remembers no principal: a change of limits holds at once."""
    changed = msgspec.structs.replace(settings, principal_cache_seconds=0)
    async with serve(create_app(changed)) as http:
        yield http


@pytest.fixture
def settled(as_superuser):
    """As if the tenant's limits had been set an hour ago: now the counter is relied on."""

    def settle(tenant):
        # As a replica, so that the audit trigger does not ask for a bound tenant.
        as_superuser(
            "SET session_replication_role = replica; "
            "UPDATE plans SET updated_at = now() - interval '2 hours'; "
            "UPDATE tenants SET updated_at = now() - interval '2 hours' "
            f"WHERE id = '{tenant.tenant_id}'"
        )

    return settle


def assert_full(answer, *, value=MOST, resource="projects"):
    assert answer.status_code == 429, answer.text
    problem = answer.json()
    assert (problem["code"], problem["limit"], problem["value"]) == (
        "quota_exceeded",
        "rows",
        value,
    )
    assert f"{value} {resource}" in problem["detail"]
    # Waiting does not help.
    assert "retry-after" not in answer.headers


async def total(tenant, resource="projects"):
    return (await tenant.get(f"/v1/{resource}?include_total=true&limit=1")).json()["total"]


async def filled(tenant, rows=MOST):
    """The rows of a batch that there is room for."""
    items = [{"op": "create", "data": {"name": f"Filler {number}"}} for number in range(rows)]
    answer = await tenant.post("/v1/projects/batch", {"mode": "atomic", "items": items})
    assert answer.status_code == 200, answer.text
    return [result["id"] for result in answer.json()["results"]]


@pytest.mark.parametrize("is_settled", [False, True], ids=["new limits", "old limits"])
async def test_a_hundred_creates_at_once_fill_the_quota_to_the_row(on_plan, settled, is_settled):
    tenant = await on_plan(rows=MOST)
    if is_settled:
        settled(tenant)

    answers = await asyncio.gather(
        *(tenant.post("/v1/projects", {"name": f"P{number}"}) for number in range(100))
    )

    made = [answer for answer in answers if answer.status_code == 201]
    assert (len(made), await total(tenant)) == (MOST, MOST)
    for answer in answers:
        if answer.status_code != 201:
            assert_full(answer)


async def test_every_way_in_at_once_fills_the_quota_to_the_row(on_plan, settled):
    most = 40
    tenant = await on_plan(rows=most)
    settled(tenant)
    gone = await filled(tenant, 20)
    for id in gone:
        assert (await tenant.delete(f"/v1/projects/{id}")).status_code == 204

    def batch(number, op):
        items = [{"op": op, "data": {"name": f"B{number}-{n}"}} for n in range(5)]
        return tenant.post("/v1/projects/batch", {"mode": "partial", "items": items})

    answers = await asyncio.gather(
        *(tenant.post("/v1/projects", {"name": f"P{number}"}) for number in range(20)),
        *(tenant.post("/v1/projects", {"name": f"N{n}", "tasks": []}) for n in range(5)),
        *(tenant.post(f"/v1/projects/{id}/restore") for id in gone),
        *(batch(number, op) for number in range(4) for op in ("create", "upsert")),
    )

    made = sum(
        answer.json()["succeeded"] if answer.status_code == 207 else answer.status_code < 300
        for answer in answers
    )
    assert (made, await total(tenant)) == (most, most)


async def test_a_refused_row_is_nowhere(on_plan, in_tenant):
    tenant = await on_plan(rows=1)
    row = await tenant.create("projects", name="Only")

    assert_full(await tenant.post("/v1/projects", {"name": "Too many"}), value=1)

    assert in_tenant(tenant, "SELECT id::text FROM projects") == [(row["id"],)]
    assert len(await logged(tenant, row["id"])) == 1
    assert in_tenant(tenant, "SELECT count(*) FROM audit_log WHERE entity = 'projects'") == [(1,)]


async def test_children_are_counted_beside_their_parents(on_plan):
    tenant = await on_plan(rows=2)
    tasks = [{"title": f"T{number}"} for number in range(3)]

    refused = await tenant.post("/v1/projects", {"name": "Parent", "tasks": tasks})
    stored = await tenant.post("/v1/projects", {"name": "Parent", "tasks": tasks[:2]})
    parent = stored.json()["id"]

    assert_full(refused, value=2, resource="tasks")
    assert [fault["pointer"] for fault in refused.json()["errors"]] == ["/tasks/2"]
    assert stored.status_code == 201
    assert (await total(tenant), await total(tenant, "tasks")) == (1, 2)
    single = await tenant.post("/v1/tasks", {"project_id": parent, "title": "T9"})
    assert_full(single, value=2, resource="tasks")


@pytest.mark.parametrize("op", ["create", "upsert"])
@pytest.mark.parametrize("on_conflict", ["update", "skip", "error"])
async def test_a_batch_keeps_the_rows_that_have_room_and_tells_the_others_why(
    on_plan, op, on_conflict
):
    tenant = await on_plan(rows=MOST)
    await filled(tenant, MOST - 2)
    names = ["Filler 0", "New 0", "New 0", "New 1", "New 2", "New 3"]
    items = [{"op": op, "data": {"name": name, "budget_cents": 5}} for name in names]
    wish = {"items": items, "on_conflict": on_conflict}

    atomic = await tenant.post("/v1/projects/batch", {"mode": "atomic", **wish})
    assert await total(tenant) == MOST - 2
    partial = (await tenant.post("/v1/projects/batch", {"mode": "partial", **wish})).json()

    found = [result["error"]["code"] if result["error"] else "ok" for result in partial["results"]]
    is_upsert = op == "upsert" and on_conflict != "error"
    assert found[0] == ("ok" if is_upsert else "already_exists")
    assert found[1:] == [
        "ok",
        "duplicate" if op == "upsert" else "already_exists",
        "ok",
        "quota_exceeded",
        "quota_exceeded",
    ]
    assert partial["results"][4]["error"]["detail"].startswith(f"This tenant may have {MOST} proj")
    assert atomic.status_code == 409
    assert await total(tenant) == MOST


async def test_an_atomic_batch_without_room_stores_nothing(on_plan):
    tenant = await on_plan(rows=MOST)
    items = [{"op": "create", "data": {"name": f"P{number}"}} for number in range(MOST + 1)]

    refused = await tenant.post("/v1/projects/batch", {"mode": "atomic", "items": items})
    kept = await tenant.post("/v1/projects/batch", {"mode": "atomic", "items": items[:MOST]})

    assert_full(refused)
    assert [fault["pointer"] for fault in refused.json()["errors"]] == [f"/items/{MOST}"]
    assert kept.status_code == 200
    assert await total(tenant) == MOST


async def test_what_needs_no_room_is_done_when_there_is_none(on_plan):
    tenant = await on_plan(rows=MOST)
    ids = await filled(tenant)
    upserts = [
        {"op": "upsert", "data": {"name": f"Filler {number}", "budget_cents": 7}}
        for number in range(MOST)
    ]

    taken = await tenant.post("/v1/projects", {"name": "Filler 3"})
    changed = await tenant.patch(f"/v1/projects/{ids[0]}", {"budget_cents": 1})
    upserted = await tenant.post("/v1/projects/batch", {"mode": "atomic", "items": upserts})
    one = await tenant.post("/v1/projects/batch", {"mode": "atomic", "items": upserts[:1]})

    # More room would not help this one.
    assert (taken.status_code, taken.json()["code"]) == (409, "already_exists")
    assert changed.status_code == upserted.status_code == one.status_code == 200
    assert {r["status"] for r in upserted.json()["results"]} == {"updated"}
    assert await total(tenant) == MOST


@pytest.mark.parametrize("way", ["restore", "batch", "revert", "revert of a purged row"])
async def test_a_row_comes_back_only_where_there_is_room(on_plan, way):
    tenant = await on_plan(rows=1)
    row = await tenant.create("projects", name="First")
    path = f"/v1/projects/{row['id']}"
    entry = (await logged(tenant, row["id"]))[0]
    await tenant.delete(f"{path}?hard=true" if "purged" in way else path)
    other = await tenant.create("projects", name="Second")

    async def come_back():
        if way == "restore":
            return await tenant.post(f"{path}/restore")
        if way == "batch":
            items = [{"op": "restore", "id": row["id"]}]
            return await tenant.post("/v1/projects/batch", {"mode": "atomic", "items": items})
        return await tenant.post(f"{path}/revert", {"to": entry})

    refused = await come_back()
    await tenant.delete(f"/v1/projects/{other['id']}")
    done = await come_back()

    assert_full(refused, value=1)
    assert done.status_code == 200, done.text
    assert (await tenant.get(path)).status_code == 200
    assert_full(await tenant.post("/v1/projects", {"name": "Third"}), value=1)


@pytest.mark.parametrize("mode", ["atomic", "partial"])
async def test_of_many_deleted_rows_those_come_back_that_have_room(on_plan, mode):
    tenant = await on_plan(rows=2)
    ids = []
    for number in range(3):
        ids.append((await tenant.create("projects", name=f"Row {number}"))["id"])
        await tenant.delete(f"/v1/projects/{ids[-1]}")
    items = [{"op": "restore", "id": id} for id in ids]

    answer = await tenant.post("/v1/projects/batch", {"mode": mode, "items": items})

    if mode == "atomic":
        assert_full(answer, value=2)
        assert answer.json()["errors"][0]["pointer"] == "/items/2"
        assert await total(tenant) == 0
    else:
        statuses = [result["status"] for result in answer.json()["results"]]
        assert statuses == ["restored", "restored", "failed"]
        assert answer.json()["results"][2]["error"]["code"] == "quota_exceeded"
        assert await total(tenant) == 2
        assert_full(await tenant.post("/v1/projects", {"name": "Third"}), value=2)


async def test_a_higher_limit_helps_and_a_lower_one_takes_nothing_away(on_plan, operator, fresh):
    tenant = type(made := await on_plan(rows=1))(fresh, made.key, made.body)
    plan = f"/v1/admin/plans/{tenant.body['tenant']['plan']}"

    async def tries(name):
        return (await tenant.post("/v1/projects", {"name": f"Project {name}"})).status_code

    assert [await tries("A"), await tries("B")] == [201, 429]
    await operator.patch(plan, {"limits": {"rows": 2}})
    assert [await tries("B"), await tries("C")] == [201, 429]
    await operator.patch(plan, {"limits": {"rows": None}})
    assert [await tries(name) for name in "CDE"] == [201, 201, 201]
    await operator.patch(plan, {"limits": {"rows": 4}})
    assert (await tries("F"), await total(tenant)) == (429, 5)


async def test_rows_that_came_while_there_was_no_limit_are_counted(
    on_plan, operator, fresh, settled
):
    tenant = type(made := await on_plan(rows=5))(fresh, made.key, made.body)
    settled(tenant)
    plan = f"/v1/admin/plans/{tenant.body['tenant']['plan']}"
    await filled(tenant, 2)
    await operator.patch(plan, {"limits": {"rows": None}})
    for number in range(6):
        await tenant.create("projects", name=f"Uncounted {number}")

    # The counter still says two.
    await operator.patch(plan, {"limits": {"rows": 5}})

    assert_full(await tenant.post("/v1/projects", {"name": "Ninth"}), value=5)


async def test_a_counter_is_believed_until_it_is_full_and_counted_anew_before_it_refuses(
    on_plan, settled, in_tenant
):
    tenant = await on_plan(rows=MOST)
    settled(tenant)

    async def counter():
        ((used, counted_at),) = in_tenant(
            tenant, "SELECT used, counted_at FROM row_quotas WHERE entity = 'projects'"
        )
        return used, counted_at

    ids = await filled(tenant, 4)
    first = await counter()
    await tenant.create("projects", name="Fifth")
    second = await counter()
    for id in ids:
        await tenant.delete(f"/v1/projects/{id}")
    for number in range(5):
        await tenant.create("projects", name=f"More {number}")
    full = await counter()
    await tenant.create("projects", name="One more")
    anew = await counter()

    assert [used for used, _ in (first, second, full, anew)] == [4, 5, 10, 7]
    assert first[1] == second[1] == full[1] < anew[1]


async def test_one_tenants_rows_are_no_other_tenants(on_plan, tenant):
    full = await on_plan(rows=1)
    await full.create("projects", name="Only")
    other = await on_plan(rows=1)

    assert_full(await full.post("/v1/projects", {"name": "More"}), value=1)
    assert (await other.post("/v1/projects", {"name": "More"})).status_code == 201
    # A tenant without a limit leaves no counter behind.
    assert (await tenant.post("/v1/projects", {"name": "More"})).status_code == 201


async def test_a_tenant_without_a_limit_has_no_counter(on_plan, in_tenant):
    tenant = await on_plan(rows=None, members=3)

    await tenant.create("projects", name="Uncounted")

    assert in_tenant(tenant, "SELECT count(*) FROM row_quotas") == [(0,)]


async def test_a_refusal_for_want_of_room_is_not_kept_for_the_repeat(on_plan):
    tenant = await on_plan(rows=1)
    row = await tenant.create("projects", name="Only")
    key = {"Idempotency-Key": "again"}

    refused = await tenant.post("/v1/projects", {"name": "Later"}, headers=key)
    await tenant.delete(f"/v1/projects/{row['id']}")
    done = await tenant.post("/v1/projects", {"name": "Later"}, headers=key)

    assert_full(refused, value=1)
    assert done.status_code == 201
    assert "idempotency-replayed" not in done.headers
