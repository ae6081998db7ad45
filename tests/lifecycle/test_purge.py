"""Nothing of a tenant is left after its purge but the proof of it."""

import asyncio
import hashlib
import json
from contextvars import Context
from datetime import datetime
from uuid import UUID

import pytest
from purges import id_of

from saas import context
from saas.context import tenant_principal
from saas.db.idempotency import try_lock
from saas.db.models import Base
from saas.db.transaction import platform_transaction
from saas.errors import NotFound, WrongTenantStatus
from saas.tenancy.purge import purge
from saas.tenancy.purging import purge_due, purging
from saas.usage.request_meter import RequestMeter
from saas.usage.retention import STEPS
from saas.usage.retention_statements import KEEPING


async def test_every_row_goes_and_the_certificate_says_so(
    tenant, other_tenant, operator, offboard, populate, rows_of, database
):
    populate(tenant)
    populate(other_tenant)
    others = rows_of(other_tenant)
    await offboard(tenant)
    before = rows_of(tenant)
    assert all(before.values()), f"a table without a row would prove nothing: {before}"

    await purge(database, id_of(tenant), actor="platform:ops", batch_rows=2)

    assert set(rows_of(tenant).values()) == {0}
    assert rows_of(other_tenant) == others
    found = await operator.get(f"/v1/admin/tenants/{tenant.tenant_id}/certificate")
    document = found.json()["document"]
    # The log has grown by the beginning of the purge itself.
    before["audit_log"] = document["tables"]["audit_log"]["deleted"]
    assert document["tables"] == {name: {"deleted": n, "left": 0} for name, n in before.items()}
    assert (document["tenant_id"], document["slug"]) == (
        tenant.tenant_id,
        tenant.body["tenant"]["slug"],
    )
    assert document["requested_by"] == "platform:key"
    times = [document[f"{name}_at"] for name in ("requested", "purge", "started", "finished")]
    assert sorted(times[1:]) == times[1:]
    assert [datetime.fromisoformat(time).tzinfo is not None for time in times] == [True] * 4


async def test_counts_that_are_being_written_are_waited_for_and_forgotten(
    tenant, offboard, rows_of, database, superuser
):
    meter = RequestMeter(database, interval_seconds=3_600)
    meter.count((tenant.tenant_id, "key:x"), "/v1", 200, 0.001, (0, 0))
    await meter.write()
    meter.count((tenant.tenant_id, "key:x"), "/v1", 200, 0.001, (0, 0))
    meter.count((tenant.tenant_id, "key:x"), "/v1/other", 200, 0.001, (0, 0))
    await offboard(tenant)

    # The writer has seen the tenant before its purge began, and waits with a row in hand.
    with superuser.transaction():
        superuser.execute(
            "UPDATE usage_days SET errors = errors WHERE tenant = %s", [tenant.tenant_id]
        )
        writing = asyncio.create_task(meter.write())
        await _waits(superuser, "INSERT INTO usage_writers")
        purging = asyncio.create_task(purge(database, id_of(tenant), actor="platform:ops"))
        await _waits(superuser, "pg_advisory_xact_lock(")
        assert not purging.done()
    await asyncio.gather(writing, purging)

    assert set(rows_of(tenant).values()) == {0}


async def test_figures_that_are_being_put_together_are_waited_for_and_forgotten(
    tenant, offboard, rows_of, database, superuser
):
    superuser.execute(
        "INSERT INTO usage_requests SELECT %s, date_trunc('day', now(), 'UTC') - interval '9 days'"
        " + make_interval(mins => minute), 1, '/v1', 2, 'key', 1, 0, 0, '{3}', '{1}'"
        " FROM generate_series(1, 4) AS minute",
        [tenant.tenant_id],
    )
    await offboard(tenant)

    async with platform_transaction(database) as work:
        assert await try_lock(KEEPING)
        assert (await work.fetch(STEPS["quarters"], [1_000]))[0]["taken"] >= 4
        purging = asyncio.create_task(
            purge(database, id_of(tenant), actor="platform:ops"), context=Context()
        )
        await _waits(superuser, "pg_advisory_xact_lock(")
        assert not purging.done()
    await purging

    assert set(rows_of(tenant).values()) == {0}


async def _waits(superuser, statement):
    waiting = """SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%%' || %s || '%%'
    AND wait_event_type = 'Lock' AND pid <> pg_backend_pid()"""
    for _ in range(1_000):
        # A transaction remembers what it has seen of the others.
        superuser.execute("SELECT pg_stat_clear_snapshot()")
        if superuser.execute(waiting, [statement]).fetchone()[0]:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"nobody waits in {statement}")


async def test_digest_is_that_of_the_document(tenant, operator, offboard, database):
    await offboard(tenant)
    issued = await purge(database, id_of(tenant), actor="platform:ops")

    body = (await operator.get(f"/v1/admin/tenants/{tenant.tenant_id}/certificate")).json()

    canonical = json.dumps(
        body["document"], sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    assert body["digest"] == hashlib.sha256(canonical.encode()).hexdigest() == issued.digest


async def test_tombstone_keeps_the_slug_and_forgets_the_name(
    tenant, operator, offboard, database, superuser
):
    at = f"/v1/admin/tenants/{tenant.tenant_id}"
    await operator.patch(at, {"name": "Secret Name Ltd.", "limits": {"rows": 5}})
    await offboard(tenant)

    await purge(database, id_of(tenant), actor="platform:ops")

    body = (await operator.get(at)).json()
    assert (body["status"], body["name"], body["limits"]) == ("deleted", "", {})
    assert body["slug"] == tenant.body["tenant"]["slug"]
    for table in Base.metadata.tables:
        found = superuser.execute(f"SELECT to_jsonb(t)::text FROM {table} AS t").fetchall()
        assert not [row for (row,) in found if "Secret Name" in row], table


async def test_slug_is_never_given_again(tenant, operator, offboard, database):
    wish = {
        "slug": tenant.body["tenant"]["slug"],
        "name": "Successor",
        "owner": {"email": "a@b.test", "name": "A"},
    }
    refusals = [await operator.post("/v1/admin/tenants", wish)]

    await offboard(tenant)
    refusals.append(await operator.post("/v1/admin/tenants", wish))
    await purge(database, id_of(tenant), actor="platform:ops")
    refusals.append(await operator.post("/v1/admin/tenants", wish))

    codes = [(refused.status_code, refused.json()["code"]) for refused in refusals]
    assert codes == [(409, "already_exists")] * 3


async def test_only_an_offboarded_tenant_is_purged_and_only_after_its_grace(
    tenant, operator, database, rows_of, rewind
):
    before = rows_of(tenant)
    at = f"/v1/admin/tenants/{tenant.tenant_id}"

    with pytest.raises(WrongTenantStatus, match="not offboarded"):
        await purge(database, id_of(tenant), actor="platform:ops")
    await operator.post(f"{at}/suspend")
    with pytest.raises(WrongTenantStatus, match="not offboarded"):
        await purge(database, id_of(tenant), actor="platform:ops")
    await operator.delete(at)
    with pytest.raises(WrongTenantStatus, match="grace period"):
        await purge(database, id_of(tenant), actor="platform:ops")
    # Other tests leave tenants behind that are due.
    assert id_of(tenant) not in await purge_due(database)

    assert {**rows_of(tenant), "audit_log": 0} == {**before, "audit_log": 0}
    rewind(tenant)
    assert id_of(tenant) in await purge_due(database)
    with pytest.raises(NotFound):
        await purge(database, UUID(int=0), actor="platform:ops")


async def test_purging_again_gives_the_same_certificate(tenant, offboard, database):
    await offboard(tenant)

    first = await purge(database, id_of(tenant), actor="platform:ops")
    again = await purge(database, id_of(tenant), actor="platform:other")

    assert again == first
    assert id_of(tenant) not in await purge_due(database)


async def test_task_of_the_server_purges_what_is_due_and_nothing_else(
    tenant, other_tenant, operator, offboard, rows_of, database, caplog
):
    await offboard(tenant)
    await operator.delete(f"/v1/admin/tenants/{other_tenant.tenant_id}")
    before = rows_of(other_tenant)

    # Whoever starts the server may act as somebody; the task must not.
    with context.acting_as(tenant_principal(id_of(other_tenant), job="starter")):
        async with purging(database, 60):
            while await certificate_status(operator, tenant) == 404:
                assert await certificate_status(operator, other_tenant) == 404
    async with purging(database, 0):
        pass

    assert set(rows_of(tenant).values()) == {0}
    assert rows_of(other_tenant) == before
    body = (await operator.get(f"/v1/admin/tenants/{tenant.tenant_id}")).json()
    assert body["updated_by"] == "system:purge"


async def certificate_status(operator, tenant):
    path = f"/v1/admin/tenants/{tenant.tenant_id}/certificate"
    return (await operator.get(path)).status_code
