"""A purge that is stopped, killed or met by others ends as if it had been alone."""

import asyncio
import random
import sys

import psycopg
import pytest
from purges import id_of, purge_in_the_end

from saas.db.database import Database
from saas.db.roles import APP, PLATFORM
from saas.errors import PurgeRunning, Unavailable, WrongTenantStatus
from saas.tenancy.purge import purge

pytestmark = pytest.mark.long

# Purges row by row, and says so after each.
PURGER = """
import asyncio, sys
from uuid import UUID
import saas.schema
from saas.db.database import Database
from saas.tenancy.purge import purge

async def main(app_url, platform_url, tenant):
    def say(*_):
        print("gone", flush=True)
    async with Database(app_url, platform_url, size=2) as database:
        await purge(database, UUID(tenant), actor="platform:ops", batch_rows=1, report=say)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
async def due(tenant, offboard, populate):
    """A tenant with rows in every table, whose grace period is over."""
    for _ in range(4):
        populate(tenant)
    await offboard(tenant)
    return tenant


def deleted(certificate):
    """What it says was deleted; the log has grown by the beginning of the purge itself."""
    tables = certificate.document.tables
    return {name: table.deleted for name, table in tables.items()} | {"audit_log": 0}


async def test_purge_that_is_stopped_anywhere_is_gone_on_with(due, rows_of, database):
    before = rows_of(due)

    for _ in range(12):
        work = purge(database, id_of(due), actor="platform:ops", batch_rows=1)
        task = asyncio.create_task(work)
        await asyncio.wait({task}, timeout=random.uniform(0, 0.05))
        task.cancel()
        await asyncio.wait({task})
    certificate = await purge_in_the_end(database, due)

    assert deleted(certificate) == before | {"audit_log": 0}
    assert set(rows_of(due).values()) == {0}


async def test_purge_that_is_killed_three_times_is_gone_on_with(due, rows_of, settings, database):
    before = rows_of(due)
    urls = (settings.database_url, settings.platform_database_url)

    for _ in range(3):
        command = [sys.executable, "-c", PURGER, *urls, due.tenant_id]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        for _ in range(random.randint(1, 12)):
            assert await process.stdout.readline() == b"gone\n"
        process.kill()
        await process.wait()
        assert sum(rows_of(due).values()) > 0
    certificate = await purge_in_the_end(database, due)

    assert deleted(certificate) == before | {"audit_log": 0}
    assert set(rows_of(due).values()) == {0}


async def test_two_who_purge_at_once_issue_one_certificate(due, rows_of, settings, database):
    before = rows_of(due)
    urls = (settings.database_url, settings.platform_database_url)

    async with Database(*urls, size=2) as another:
        one, other = await asyncio.gather(
            purge_in_the_end(database, due), purge_in_the_end(another, due)
        )

    assert one == other
    assert deleted(one) == before | {"audit_log": 0}


async def test_who_comes_while_a_step_is_running_is_told(due, superuser, database):
    # A step that lasts: it waits for the tenant's row.
    superuser.execute("BEGIN")
    superuser.execute("SELECT FROM tenants WHERE id = %s FOR UPDATE", [due.tenant_id])
    first = asyncio.create_task(purge(database, id_of(due), actor="platform:ops"))
    await asyncio.wait({first}, timeout=0.2)

    with pytest.raises(PurgeRunning):
        await purge(database, id_of(due), actor="platform:other")

    superuser.execute("ROLLBACK")
    certificate = await first
    assert certificate.document.finished_at


@pytest.mark.parametrize("role", [APP, PLATFORM])
async def test_purge_waits_for_transactions_of_the_grace_period(
    role, tenant, operator, rewind, postgres, database
):
    insert = """INSERT INTO members (tenant_id, email, name, role, created_by, updated_by)
      VALUES (%s, 'late@x.test', 'Late', 'owner', 'x', 'x')"""
    with psycopg.connect(postgres.dsn(role)) as writer:
        writer.execute(f"SET LOCAL app.tenant_id = '{id_of(tenant)}'")
        await operator.delete(f"/v1/admin/tenants/{tenant.tenant_id}")
        rewind(tenant, "clock_timestamp()")

        with pytest.raises(Unavailable, match="began in the grace period"):
            await purge(database, id_of(tenant), actor="platform:ops")
        writer.execute(insert, [tenant.tenant_id])
        writer.commit()

    certificate = await purge_in_the_end(database, tenant)
    assert certificate.document.tables["members"].deleted == 2


async def test_no_resume_and_no_purge_both_come_to_pass(tenant, offboard, postgres, database):
    await offboard(tenant)
    resume = "UPDATE tenants SET status = 'active', purge_at = NULL, deletion = NULL WHERE id = %s"
    with psycopg.connect(postgres.dsn(PLATFORM)) as operator:
        operator.execute(f"SET LOCAL app.tenant_id = '{id_of(tenant)}'")
        operator.execute(resume, [tenant.tenant_id])
        started = asyncio.create_task(purge(database, id_of(tenant), actor="platform:ops"))
        await asyncio.wait({started}, timeout=0.3)
        assert not started.done()

        operator.commit()

    with pytest.raises(WrongTenantStatus, match="not offboarded"):
        await started
    assert (await tenant.get("/v1/projects")).status_code == 200


async def test_grace_that_is_over_cannot_be_undone(tenant, operator, offboard, database):
    await offboard(tenant)
    at = f"/v1/admin/tenants/{tenant.tenant_id}"

    late = await operator.post(f"{at}/resume")
    purged, *refused = await asyncio.gather(
        purge_in_the_end(database, tenant), *(operator.post(f"{at}/resume") for _ in range(5))
    )

    assert purged.document.slug == tenant.body["tenant"]["slug"]
    for answer in (late, *refused, await operator.post(f"{at}/resume")):
        assert (answer.status_code, answer.json()["code"]) == (409, "wrong_tenant_status")
