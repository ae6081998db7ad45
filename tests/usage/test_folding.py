"""Whatever changes rows is counted once, and comes to what is there."""

import asyncio

import psycopg
import pytest

from saas.db.database import Database
from saas.errors import SaasError
from saas.usage.folding import fold

PROJECTS = "/v1/projects"


def items(count, op="create", **values):
    return [
        {"op": op, "data": {"name": f"Of a batch {n}", "budget_cents": n} | values}
        for n in range(count)
    ]


async def send_batch(tenant, given, **wish):
    wish = {"mode": "atomic", "items": given} | wish
    answer = await tenant.post(f"{PROJECTS}/batch", wish)
    assert answer.status_code in (200, 207), answer.text
    return [result["id"] for result in answer.json()["results"]]


async def create(tenant, **_):
    await tenant.create("projects", name="Ünïcode 🚀", description="", budget_cents=None)
    await tenant.create("projects", name="Other", description="x" * 5_000, is_active=False)


async def create_with_children(tenant, **_):
    tasks = [{"title": f"T{n}", "due_on": "2027-01-31" if n % 2 else None} for n in range(60)]
    await tenant.create("projects", name="Parent", tasks=tasks)


async def create_fewer_than_fifty(tenant, **_):
    await send_batch(
        tenant, [*items(48), {"op": "create", "data": {"name": "Off", "is_active": False}}]
    )


async def create_fifty_and_more(tenant, **_):
    off = {"op": "create", "data": {"name": "Inactive", "is_active": False}}
    await send_batch(tenant, [*items(49), off])


async def update(tenant, **_):
    row = await tenant.create("projects", name="First", description="Long enough")
    path = f"{PROJECTS}/{row['id']}"
    await tenant.patch(path, {"description": None, "budget_cents": 2**40})
    await tenant.patch(path, {"is_active": False})
    await tenant.patch(path, {"is_active": False})
    await tenant.patch(path, {"is_active": True, "name": "Renamed"})


async def upsert(tenant, **_):
    await send_batch(tenant, items(60))
    await send_batch(tenant, items(70, op="upsert", description="Changed"))
    await send_batch(tenant, items(5, op="upsert", description="Left"), on_conflict="skip")


async def some_of_a_batch(tenant, **_):
    await send_batch(tenant, items(3))
    await send_batch(tenant, [*items(5), {"op": "delete", "id": tenant.tenant_id}], mode="partial")


async def soft_delete_and_restore(tenant, **_):
    ids = await send_batch(tenant, items(4))
    for id in ids[:3]:
        await tenant.delete(f"{PROJECTS}/{id}")
    await tenant.patch(f"{PROJECTS}/{ids[3]}", {"is_active": False})
    await tenant.delete(f"{PROJECTS}/{ids[3]}")
    await tenant.post(f"{PROJECTS}/{ids[0]}/restore")
    await tenant.post(f"{PROJECTS}/{ids[3]}/restore")
    await send_batch(tenant, [{"op": "restore", "id": ids[1]}, {"op": "delete", "id": ids[0]}])


async def delete_for_good(tenant, **_):
    ids = await send_batch(tenant, items(3))
    await tenant.create("tasks", project_id=ids[0], title="Goes along")
    gone = await tenant.create("tasks", project_id=ids[0], title="Deleted before")
    await tenant.delete(f"/v1/tasks/{gone['id']}")
    await tenant.delete(f"{PROJECTS}/{ids[1]}")
    for id in ids[:2]:
        assert (await tenant.delete(f"{PROJECTS}/{id}?hard=true")).status_code == 204


async def revert(tenant, **_):
    row = await tenant.create("projects", name="First")
    path = f"{PROJECTS}/{row['id']}"
    (entry,) = (await tenant.get(f"{path}/history")).json()["items"]
    await tenant.patch(path, {"name": "Second", "description": "More"})
    assert (await tenant.post(f"{path}/revert", {"to": entry["id"]})).status_code == 200


async def keys_and_members(tenant, *, http, **_):
    key = (await tenant.post("/v1/api-keys", {"name": "CI"})).json()
    await tenant.post(f"/v1/api-keys/{key['id']}/rotate")
    await tenant.delete(f"/v1/api-keys/{key['id']}")
    invited = await tenant.post("/v1/invitations", {"email": "bob@x.test", "role": "member"})
    body = {"token": invited.json()["token"], "name": "Bob"}
    joined = await http.post("/v1/invitations/accept", json=body)
    path = f"/v1/members/{joined.json()['member']['id']}"
    assert (await tenant.patch(path, {"role": "viewer"})).status_code == 200
    assert (await tenant.delete(path)).status_code == 204


async def change_plainly(tenant, *, in_tenant, **_):
    insert = """INSERT INTO projects (tenant_id, name, created_by, updated_by, deleted_at)
      SELECT %(tenant)s, 'Plain ' || n, 'x', 'x', CASE WHEN mod(n, 7) = 0 THEN now() END
      FROM generate_series(1, %(most)s) AS n"""
    in_tenant(tenant, insert, most=60)
    in_tenant(tenant, insert.replace("Plain", "Few"), most=20)
    in_tenant(
        tenant,
        # Of another length, alone; of the same length, alone; and nothing at all.
        "UPDATE projects SET updated_by = 'somebody else' WHERE tenant_id = %(tenant)s",
        "UPDATE projects SET updated_by = 'somebody else' WHERE tenant_id = %(tenant)s",
        "UPDATE projects SET version = version + 1 WHERE tenant_id = %(tenant)s",
        "UPDATE projects SET is_active = NOT is_active WHERE tenant_id = %(tenant)s",
    )
    in_tenant(tenant, "DELETE FROM projects WHERE tenant_id = %(tenant)s AND name < 'Plain 3'")


async def insert_or_update_plainly(tenant, *, in_tenant, **_):
    await send_batch(tenant, items(40))
    in_tenant(
        tenant,
        """INSERT INTO projects (tenant_id, name, created_by, updated_by)
        SELECT %(tenant)s, 'Of a batch ' || n, 'x', 'x' FROM generate_series(0, 99) AS n
        ON CONFLICT (tenant_id, name) WHERE deleted_at IS NULL
          DO UPDATE SET description = 'Was there'""",
    )


CHANGES = [
    create,
    create_with_children,
    create_fewer_than_fifty,
    create_fifty_and_more,
    update,
    upsert,
    some_of_a_batch,
    soft_delete_and_restore,
    delete_for_good,
    revert,
    keys_and_members,
    change_plainly,
    insert_or_update_plainly,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
async def test_every_change_comes_to_what_is_there(
    tenant, other_tenant, http, change, in_tenant, counted, assert_true
):
    await assert_true(tenant, other_tenant)
    before, others = counted(tenant), counted(other_tenant)

    await change(tenant, in_tenant=in_tenant, http=http)

    assert counted(tenant) != before
    await assert_true(tenant, other_tenant)
    assert counted(other_tenant) == others


async def test_an_import_is_counted_and_its_dry_run_is_not(tenant, counted, assert_true):
    file = "name,description\n" + "".join(f"Row {n},\n" for n in range(200)) + "x,too short\n"
    before = counted(tenant)

    await _import(tenant, file, dry_run="true")
    assert counted(tenant).held.get("projects") is None
    assert counted(tenant).held == before.held
    await _import(tenant, file)
    await _import(tenant, file.replace(",\n", ",Changed\n"), on_conflict="update")

    assert counted(tenant).held["projects"]["live"] == 200
    await assert_true(tenant)


async def _import(tenant, file, **query):
    sent = await tenant(
        "POST",
        f"{PROJECTS}/import",
        content=file,
        headers={"Content-Type": "text/csv"},
        params=query,
    )
    assert sent.status_code == 202, sent.text
    path = f"/v1/imports/{sent.json()['id']}"
    for _ in range(3_000):
        if (found := (await tenant.get(path)).json())["status"] != "running":
            break
        await asyncio.sleep(0.01)
    assert (found["status"], found["rows_read"]) == ("done", 201)


async def test_what_is_refused_or_rolled_back_counts_nothing(tenant, in_tenant, counted):
    await tenant.create("projects", name="First")
    before = counted(tenant)

    assert (await tenant.post(PROJECTS, {"name": "First"})).status_code == 409
    bad = [*items(60), {"op": "create", "data": {"name": "First"}}]
    refused = await tenant.post(f"{PROJECTS}/batch", {"mode": "atomic", "items": bad})
    with pytest.raises(psycopg.errors.DivisionByZero):
        in_tenant(
            tenant, "DELETE FROM projects WHERE tenant_id = %(tenant)s", "SELECT 1 / 0 AS never"
        )

    assert refused.status_code == 409
    assert counted(tenant) == before


async def test_a_writer_in_flight_during_a_fold_is_counted_after_it(
    tenant, postgres, settings, database, counted, assert_true
):
    await tenant.create("projects", name="Before")
    url = postgres.dsn(postgres.superuser, "saas")
    with psycopg.connect(url) as writer:
        writer.execute(f"SET app.tenant_id = '{tenant.tenant_id}'")
        writer.execute(
            "INSERT INTO projects (tenant_id, name, created_by, updated_by) "
            "VALUES (%s, 'In flight', 'x', 'x')",
            [tenant.tenant_id],
        )
        # Its id, and its time, are older than those of what is folded now.
        await tenant.create("projects", name="After")

        await fold(database)

        assert counted(tenant).held["projects"]["live"] == 2
        writer.commit()
    assert counted(tenant).held["projects"]["live"] == 3
    await assert_true(tenant)


@pytest.fixture
def standing_still(postgres, settings):
    """Holds on to what is folded of a tenant: a fold waits in the middle of its statement."""

    def hold(tenant):
        connection = psycopg.connect(postgres.dsn(postgres.superuser, "saas"))
        connection.execute(
            "UPDATE usage_totals SET live = live WHERE tenant = %s", [tenant.tenant_id]
        )
        return connection

    return hold


_FOLDING = """SELECT pid FROM pg_stat_activity
WHERE query LIKE '%%DELETE FROM usage_changes%%' AND wait_event_type = 'Lock' AND pid <> %s"""


async def waiting_fold(superuser):
    """The process of the fold that waits."""
    for _ in range(1_000):
        rows = superuser.execute(_FOLDING, [superuser.info.backend_pid]).fetchall()
        if rows:
            return rows[0]["pid"]
        await asyncio.sleep(0.01)
    raise AssertionError("no fold waits")


async def test_while_one_folds_another_does_nothing(
    tenant, settings, database, superuser, standing_still, counted, assert_true
):
    await tenant.create("projects", name="Folded")
    await assert_true(tenant)
    await send_batch(tenant, items(59))
    urls = settings.database_url, settings.platform_database_url

    async with Database(*urls, size=2) as elsewhere:
        with standing_still(tenant):
            first = asyncio.create_task(fold(database))
            await waiting_fold(superuser)
            seen = counted(tenant)
            assert await fold(elsewhere) == 0
        folded = await first
        await asyncio.gather(*(fold(one) for one in (database, elsewhere) * 5))

    assert folded >= 1
    assert seen.held["projects"]["live"] == 60
    await assert_true(tenant)


async def test_a_fold_that_is_killed_half_way_has_done_nothing(
    tenant, database, superuser, standing_still, counted, assert_true
):
    await tenant.create("projects", name="Folded")
    await assert_true(tenant)
    await send_batch(tenant, items(59))
    await tenant.post("/v1/usage/events", {"events": [{"meter": "m", "idempotency_key": "k"}]})
    pending = "SELECT count(*) AS rows FROM usage_changes WHERE tenant = %s"

    with standing_still(tenant):
        folding = asyncio.create_task(fold(database))
        superuser.execute("SELECT pg_terminate_backend(%s)", [await waiting_fold(superuser)])
        with pytest.raises(SaasError):
            await folding

    assert superuser.execute(pending, [tenant.tenant_id]).fetchone()["rows"] > 0
    assert counted(tenant).held["projects"]["live"] == 60
    await assert_true(tenant)
    assert superuser.execute(pending, [tenant.tenant_id]).fetchone()["rows"] == 0


async def test_writers_and_folds_at_once_lose_nothing(
    tenant, other_tenant, settings, database, assert_true
):
    async def write(caller, number):
        ids = await send_batch(
            caller,
            items(3, description=str(number))
            if not number
            else [{"op": "create", "data": {"name": f"W{number} {n}"}} for n in range(3)],
        )
        await caller.delete(f"{PROJECTS}/{ids[0]}")
        await caller.delete(f"{PROJECTS}/{ids[1]}?hard=true")

    urls = settings.database_url, settings.platform_database_url
    async with Database(*urls, size=2) as elsewhere:
        writing = asyncio.gather(
            *(write(caller, n) for caller in (tenant, other_tenant) for n in range(15))
        )
        while not writing.done():
            await asyncio.gather(fold(database), fold(elsewhere))
        await writing

    await assert_true(tenant, other_tenant)
