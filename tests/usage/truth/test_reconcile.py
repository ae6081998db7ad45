"""`saas doctor --reconcile` finds each figure that is wrong, and none that is right."""

import asyncio
from contextlib import asynccontextmanager
from itertools import count
from uuid import UUID, uuid4

import pytest

from saas.context import Principal, acting_as
from saas.db.bulk_import import import_rows
from saas.db.transaction import transaction
from saas.features.projects import projects
from saas.features.tasks import tasks
from saas.usage.folding import fold
from saas.usage.truth import compare, repair

REQUESTS = (
    "INSERT INTO usage_requests SELECT %s, date_trunc('day', now(), 'UTC'), 1, '/v1/projects', "
    "status, 'key', 3, 10, 20, '{7}', '{3}' FROM unnest('{2,4}'::int[]) AS status"
)
DAYS = "INSERT INTO usage_days VALUES (%s, (now() AT TIME ZONE 'UTC')::date, 6, 3, 20, 40)"
EVENT = (
    "INSERT INTO usage_events (tenant_id, meter, key, quantity, at, actor) "
    "VALUES (%s, 'pdf_pages', %s, 3, now(), 'key:x')"
)
METERED = (
    "INSERT INTO usage_meter_changes (tenant, at, meter, kind, events, quantity) "
    "VALUES (%s, now(), 'pdf_pages', 'key', 1, 3)"
)


@pytest.fixture
async def lived_in(tenant, superuser, database):
    """A tenant with figures of every kind, some folded and some not."""
    for number in range(4):
        row = await tenant.create("projects", name=f"p{number}")
        await tenant.create("tasks", project_id=row["id"], title="Only")
    for statement in (REQUESTS, DAYS, METERED):
        superuser(statement, tenant.tenant_id)
    superuser(EVENT, tenant.tenant_id, "job-1")
    await fold(database)
    await tenant.patch(f"/v1/projects/{row['id']}", {"is_active": False})
    await tenant.delete(f"/v1/projects/{row['id']}")
    superuser(METERED, tenant.tenant_id)
    superuser(EVENT, tenant.tenant_id, "job-2")
    return tenant


async def drift_of(database, tenant):
    found = await compare(database, UUID(tenant.tenant_id))
    return {drift.figure: (drift.counted, drift.true) for drift in found.drift}


async def test_right_figures_of_every_kind_have_no_drift(lived_in, database):
    unfolded = await compare(database, UUID(lived_in.tenant_id))
    await fold(database)
    folded = await compare(database, UUID(lived_in.tenant_id))

    assert unfolded.drift == folded.drift == []
    # Totals of four tables, at least one quarter of an hour for each, a meter, a day.
    assert unfolded.figures == folded.figures >= 4 * 4 + 4 * 3 + 2 + 4


@pytest.mark.parametrize(
    ("fault", "figure", "difference"),
    [
        ("UPDATE usage_totals SET live = live + 5 WHERE tenant = %s", "projects live", 5),
        ("UPDATE usage_totals SET bytes = bytes - 7 WHERE tenant = %s", "tasks bytes", -7),
        ("DELETE FROM usage_totals WHERE tenant = %s", "tasks live", -4),
        ("UPDATE usage_activity SET created = created + 1 WHERE tenant = %s", "created", 1),
        (
            "UPDATE usage_changes SET removed = removed - 1 WHERE tenant = %s",
            "projects removed",
            -2,
        ),
        ("UPDATE usage_meters SET quantity = quantity + 9 WHERE tenant = %s", "key quantity", 9),
        ("DELETE FROM usage_meter_changes WHERE tenant = %s", "key events", -1),
        ("UPDATE usage_days SET errors = errors + 2 WHERE tenant = %s", "errors", 2),
        ("UPDATE usage_requests SET bytes_out = 21 WHERE tenant = %s", "bytes_out", -2),
    ],
)
async def test_each_wrong_figure_is_found_and_set_right(
    lived_in, superuser, database, fault, figure, difference
):
    assert await drift_of(database, lived_in) == {}

    assert superuser(fault, lived_in.tenant_id) > 0

    found = await drift_of(database, lived_in)
    counted, true = next(pair for name, pair in found.items() if name.endswith(figure))
    assert counted - true == difference
    repaired = await repair(database, UUID(lived_in.tenant_id))
    assert {one.figure: (one.counted, one.true) for one in repaired.drift} == found
    assert await drift_of(database, lived_in) == {}
    await fold(database)
    assert await drift_of(database, lived_in) == {}


async def test_a_meter_beyond_what_a_figure_holds_has_no_drift(tenant, superuser, database):
    at = "date_trunc('day', now(), 'UTC')"
    superuser(
        f"INSERT INTO usage_events (tenant_id, meter, key, quantity, at, actor) SELECT %s, "
        f"'pdf_pages', n, {2**53 - 1}, {at}, 'key:x' FROM generate_series(1, 2000) AS n",
        tenant.tenant_id,
    )
    superuser(
        f"INSERT INTO usage_meter_changes (tenant, at, meter, kind, events, quantity) SELECT %s, "
        f"{at}, 'pdf_pages', 'key', 1000, {1_000 * (2**53 - 1)} FROM generate_series(1, 2)",
        tenant.tenant_id,
    )

    assert await drift_of(database, tenant) == {}
    await fold(database)
    assert await drift_of(database, tenant) == {}


async def test_an_actor_of_any_length_is_folded_and_has_no_drift(tenant, superuser, database):
    await tenant.create("projects", name="Moved here")
    # Nothing that an index could make shorter.
    actor = "system:" + "".join(str(uuid4()) for _ in range(200))
    for table, column in (("audit_log", "tenant_id"), ("usage_changes", "tenant")):
        superuser(f"UPDATE {table} SET actor = %s WHERE {column} = %s", actor, tenant.tenant_id)

    unfolded = (await tenant.get("/v1/stats/activity")).json()["top_actors"]
    await fold(database)

    folded = (await tenant.get("/v1/stats/activity")).json()["top_actors"]
    assert unfolded == folded != []
    assert {one["actor"] for one in folded} == {actor[:200]}
    assert await drift_of(database, tenant) == {}


async def test_another_tenants_drift_is_not_this_ones(lived_in, other_tenant, superuser, database):
    superuser("UPDATE usage_totals SET live = 99 WHERE tenant = %s", lived_in.tenant_id)

    assert await drift_of(database, lived_in)
    assert await drift_of(database, other_tenant) == {}
    await repair(database, UUID(other_tenant.tenant_id))
    assert await drift_of(database, lived_in)


async def write(database, tenant_id, number, enough):
    with acting_as(Principal(tenant_id=tenant_id, actor=f"system:w{number}")):
        for turn in count():
            if enough.is_set():
                return
            async with transaction(database):
                project = await projects.repository.create({"name": f"{number}-{turn}"})
                await tasks.repository.create({"project_id": project.id, "title": "Only"})
            async with transaction(database):
                await projects.repository.update(project.id, {"description": f"Changed {turn}"})
                if turn % 2:
                    await projects.repository.delete(project.id)


async def bring(database, tenant_id, enough):
    with acting_as(Principal(tenant_id=tenant_id, actor="system:import")):
        for turn in count():
            if enough.is_set():
                return
            rows = ({"name": f"import {turn} {n}"} for n in range(400))
            await import_rows(projects, rows, database=database)


@asynccontextmanager
async def writers(database, tenant_id):
    """Three who write and one who imports, all through the block."""
    enough = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for number in range(3):
            group.create_task(write(database, tenant_id, number, enough))
        group.create_task(bring(database, tenant_id, enough))
        try:
            yield
        finally:
            enough.set()


async def test_no_drift_while_writers_imports_and_folds_run(tenant_id, database):
    async with writers(database, tenant_id):
        for _ in range(6):
            assert (await compare(database, tenant_id)).drift == []
            await fold(database)

    found = await compare(database, tenant_id)
    assert found.drift == []
    assert found.figures > 10, "nothing was written"


async def test_repair_is_exact_while_writers_imports_and_folds_run(tenant_id, database, superuser):
    spoilt = 0
    async with writers(database, tenant_id):
        for _ in range(6):
            await fold(database)
            spoilt += superuser(
                "UPDATE usage_totals SET live = live + 3, bytes = bytes - 1 WHERE tenant = %s",
                str(tenant_id),
            )
            # Two at once must not add the same twice.
            await asyncio.gather(
                repair(database, tenant_id), repair(database, tenant_id), fold(database)
            )
            assert (await compare(database, tenant_id)).drift == []

    assert spoilt > 0
    assert (await compare(database, tenant_id)).drift == []


async def test_command_prints_what_differs_and_repairs_it(tenant, slug, superuser, saas):
    await tenant.create("projects", name="Rocket")
    superuser(
        "UPDATE usage_changes SET live = live + 1 WHERE tenant = %s AND entity = 'projects'",
        tenant.tenant_id,
    )
    line = {"tenant": slug, "figure": "totals projects live", "counted": 2, "true": 1}

    found = await saas("doctor", "--reconcile", "--tenant", slug, "--json")
    table = await saas("doctor", "--reconcile", "--tenant", tenant.tenant_id)
    repaired = await saas("doctor", "--reconcile", "--repair", "--tenant", slug, "--json")
    fine = await saas("doctor", "--reconcile", "--tenant", slug)

    assert found.code == table.code == 1
    assert (found.json["tenants"], found.json["drift"]) == (1, [line])
    assert "totals projects live" in table.out
    assert "--repair" in table.out
    assert repaired.code == fine.code == 0
    assert (repaired.json["drift"], repaired.json["repaired"]) == ([line], True)
    assert fine.out.startswith("No drift: ")
    assert "figures of 1 tenants" in fine.out


async def test_command_looks_at_every_tenant(tenant, other_tenant, superuser, saas):
    for one in (tenant, other_tenant):
        superuser("UPDATE usage_changes SET live = live + 1 WHERE tenant = %s", one.tenant_id)

    found = (await saas("doctor", "--reconcile", "--repair", "--json")).json

    slugs = {one.body["tenant"]["slug"] for one in (tenant, other_tenant)}
    assert slugs <= {drift["tenant"] for drift in found["drift"]}
    assert found["tenants"] >= 2
    assert found["failed"] == {}


async def test_command_says_of_whom_nothing_can_be_said_and_looks_at_the_others(
    tenant, other_tenant, slug, superuser, saas
):
    other = other_tenant.body["tenant"]["slug"]
    superuser("UPDATE usage_changes SET live = live + 1 WHERE tenant = %s", other_tenant.tenant_id)
    # Two that cannot be added up.
    superuser(
        "UPDATE usage_changes SET live = 9000000000000000000, entity = 'members' WHERE tenant = %s",
        tenant.tenant_id,
    )

    every = await saas("doctor", "--reconcile", "--json")
    one = await saas("doctor", "--reconcile", "--tenant", slug)
    superuser("DELETE FROM usage_changes WHERE tenant = %s", tenant.tenant_id)
    repaired = await saas("doctor", "--reconcile", "--repair", "--tenant", slug)

    assert (every.code, list(every.json["failed"])) == (1, [slug])
    assert other in {drift["tenant"] for drift in every.json["drift"]}
    assert f"{slug}: " in one.err
    assert "0 figures of 0 tenants" in one.out
    assert repaired.code == 0


async def test_command_refuses_an_unknown_or_purged_tenant_and_lonely_options(
    tenant, saas, as_replica
):
    unknown = await saas("doctor", "--reconcile", "--tenant", str(uuid4()))
    lonely = await saas("doctor", "--repair")
    as_replica(f"UPDATE tenants SET status = 'deleted' WHERE id = '{tenant.tenant_id}'")
    purged = await saas("doctor", "--reconcile", "--tenant", tenant.tenant_id)

    assert (unknown.code, lonely.code, purged.code) == (2, 2, 2)
    assert "--reconcile" in lonely.err
    assert (
        purged.err == f"saas: Tenant {tenant.tenant_id} is deleted: it has no figures any more.\n"
    )
