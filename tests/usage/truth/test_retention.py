"""What is old is put together and dropped as each tenant's plan says, and no request is lost."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from saas.db.transaction import Transaction, platform_transaction
from saas.tenancy.purge import purge
from saas.usage.counting import counting
from saas.usage.folding import fold
from saas.usage.retention import STEPS, keep
from saas.usage.truth import compare

# Five minutes of each hour of twelve days, that many requests in each, of two statuses; a bucket
# comes twice in each row.
FILL = """
INSERT INTO usage_requests
SELECT %(tenant)s, at, 1, route, status, 'key', 4, 10, 100, '{3,7,3}', '{1,2,1}'
FROM generate_series(1, 12) AS days, generate_series(0, 23) AS hour,
  unnest('{0,1,14,15,59}'::int[]) AS minute, unnest('{2,4}'::int[]) AS status,
  unnest('{/v1/a,/v1/b}'::text[]) AS route,
  LATERAL (SELECT date_trunc('day', now(), 'UTC') - make_interval(days => days)
    + make_interval(hours => hour, mins => minute)) AS t (at)"""
FILL_DAYS = """
INSERT INTO usage_days
SELECT tenant, (at AT TIME ZONE 'UTC')::date, sum(requests),
  sum(requests) FILTER (WHERE status = 4), sum(bytes_in), sum(bytes_out)
FROM usage_requests WHERE tenant = %(tenant)s GROUP BY 1, 2"""
LIMITS = {"usage_minutes_days": 2, "usage_hours_days": 5, "usage_days_days": 9}
SUMS = """
SELECT (at AT TIME ZONE 'UTC')::date AS day, route, status,
  sum(requests), sum(bytes_in), sum(bytes_out)
FROM usage_requests WHERE tenant = %s GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"""
LATENCY = """
SELECT (at AT TIME ZONE 'UTC')::date AS day, route, status, bucket, sum(often)
FROM usage_requests CROSS JOIN LATERAL unnest(latency_buckets, latency_counts) AS l (bucket, often)
WHERE tenant = %s GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4"""
GRAINS = """
SELECT (now() AT TIME ZONE 'UTC')::date - (at AT TIME ZONE 'UTC')::date AS age, grain, count(*)
FROM usage_requests WHERE tenant = %s GROUP BY 1, 2"""


@pytest.fixture
def filled(superuser, on_plan):
    """Makes a tenant with twelve days of requests and these limits."""

    async def make(**limits):
        tenant = await on_plan(**limits)
        for statement in (FILL, FILL_DAYS):
            superuser(statement.replace("%(tenant)s", f"'{tenant.tenant_id}'::uuid"))
        return tenant

    return make


@pytest.fixture
def sums(superuser):
    def of(tenant):
        return [superuser(statement, tenant.tenant_id) for statement in (SUMS, LATENCY)]

    return of


@pytest.fixture
def grains(superuser):
    """Which grains there are of each age in days, and how many rows."""

    def of(tenant):
        return {(age, grain): rows for age, grain, rows in superuser(GRAINS, tenant.tenant_id)}

    return of


async def until(condition):
    while True:
        if condition():
            return
        await asyncio.sleep(0.02)


async def test_old_minutes_become_quarters_and_these_days(filled, grains, database):
    tenant = await filled(**LIMITS)

    await keep(database)

    # Five minutes an hour are three quarters of an hour; two routes, two statuses.
    expected = {(age, 1): 24 * 5 * 4 for age in (1, 2)}
    expected |= {(age, 15): 24 * 3 * 4 for age in (3, 4, 5)}
    expected |= {(age, 1440): 4 for age in range(6, 13)}
    assert grains(tenant) == expected


async def test_nothing_is_lost_or_counted_twice(filled, sums, database, tenant_id):
    tenant = await filled(usage_minutes_days=2, usage_hours_days=5)
    before = sums(tenant)

    # In many batches, which meet in the same rows.
    taken = await keep(database, batch_rows=101)
    again = await keep(database)

    assert sums(tenant) == before
    assert taken["quarters"] > taken["days"] > 101
    assert set(again.values()) == {0}


async def test_a_bucket_comes_once_in_a_row_of_a_day(filled, superuser, database):
    tenant = await filled(**LIMITS)

    await keep(database, batch_rows=101)

    rows = superuser(
        "SELECT latency_buckets, latency_counts FROM usage_requests "
        "WHERE tenant = %s AND grain = 1440",
        tenant.tenant_id,
    )
    # Of 24 * 5 rows, each with two and two.
    assert {tuple(sorted(zip(*row, strict=True))) for row in rows} == {((3, 240), (7, 240))}


async def test_each_step_alone_leaves_the_sums_as_they_were(filled, sums, database):
    tenant = await filled(usage_minutes_days=1, usage_hours_days=2)
    before = sums(tenant)

    for step in ("quarters", "days"):
        # Killed in the middle of it: nothing of it has happened.
        async with Transaction(database.platform) as work:
            assert (await work.fetch(STEPS[step], [500]))[0]["taken"] > 0
            await work.rollback()
        assert sums(tenant) == before
        # And killed after a batch of it.
        async with platform_transaction(database) as work:
            assert (await work.fetch(STEPS[step], [500]))[0]["taken"] > 0
        assert sums(tenant) == before
    await keep(database)
    assert sums(tenant) == before


async def test_rows_that_come_late_are_added(filled, superuser, sums, grains, database):
    tenant = await filled(usage_minutes_days=2, usage_hours_days=5)
    before = {row[:3]: row[3] for row in sums(tenant)[0]}
    await keep(database)

    superuser(FILL.replace("%(tenant)s", f"'{tenant.tenant_id}'::uuid") + " ON CONFLICT DO NOTHING")
    await keep(database)

    after = {row[:3]: row[3] for row in sums(tenant)[0]}
    days = {key[0] for key in before}
    kept_as_minutes = sorted(days)[-2:]
    factor = {day: 1 if day in kept_as_minutes else 2 for day in days}
    assert after == {key: count * factor[key[0]] for key, count in before.items()}
    assert grains(tenant)[8, 1440] == 4


async def test_nothing_is_lost_while_writers_write_the_same_rows(filled, superuser, sums, database):
    tenant = await filled(usage_minutes_days=2, usage_hours_days=5)
    before = sum(row[3] for row in sums(tenant)[0])

    rolling = asyncio.gather(*(keep(database, batch_rows=60) for _ in range(2)))
    written = 0
    while not rolling.done():
        written += await asyncio.to_thread(
            superuser,
            "INSERT INTO usage_requests AS u SELECT %s, "
            "date_trunc('day', now(), 'UTC') - make_interval(days => days), 1, '/v1/a', 2, 'key', "
            "1, 0, 0, '{3}', '{1}' FROM generate_series(1, 12) AS days "
            "ON CONFLICT (tenant, at, grain, route, status, kind) "
            "DO UPDATE SET requests = u.requests + 1",
            tenant.tenant_id,
        )
    await rolling
    await keep(database)

    assert written > 0
    assert sum(row[3] for row in sums(tenant)[0]) == before + written


OLD = {
    "usage_requests": "at, 1, '/v1/old', 2, 'key', 1, 0, 0, '{3}', '{1}'",
    "usage_activity": "at, 'projects', 'key:x', 1, 0, 0, 1, 10",
    "usage_meters": "at, 'pdf_pages', 'key', 1, 3",
    "usage_days": "(at AT TIME ZONE 'UTC')::date, 1, 0, 0, 0, 1",
}


@pytest.fixture
def oldest_of_each(superuser, on_plan, database):
    """Of a tenant that keeps days for so long, which days are kept of two hundred, by table: the
    age of the oldest."""

    async def ages(days):
        tenant = await on_plan(usage_days_days=days)
        for table, values in OLD.items():
            superuser(
                f"INSERT INTO {table} SELECT %s, {values} FROM (SELECT date_trunc('day', now(), "
                "'UTC') - make_interval(days => age) FROM generate_series(1, 200) AS age) AS d(at)",
                tenant.tenant_id,
            )
        await keep(database)
        found = {}
        for table in OLD:
            day = "day" if table == "usage_days" else "(at AT TIME ZONE 'UTC')::date"
            ((found[table],),) = superuser(
                f"SELECT (now() AT TIME ZONE 'UTC')::date - min({day}) FROM {table} "
                "WHERE tenant = %s",
                tenant.tenant_id,
            )
        return found

    return ages


async def test_figures_beyond_the_days_are_dropped_of_every_kind(oldest_of_each):
    assert await oldest_of_each(150) == dict.fromkeys(OLD, 150)


async def test_what_this_months_figures_and_quotas_need_is_kept_at_any_limit(oldest_of_each):
    today = datetime.now(UTC).date()
    month = (today - timedelta(days=91)).replace(day=1)

    assert await oldest_of_each(1) == {
        "usage_requests": 30,
        "usage_activity": 1,
        "usage_meters": (today - month).days,
        "usage_days": 30,
    }


async def test_a_meters_quota_counts_what_is_older_than_the_days_that_are_kept(on_plan, database):
    tenant = await on_plan(usage_days_days=1, meters={"mails": 10})
    at = (datetime.now(UTC) - timedelta(days=80)).isoformat()

    def event(key, quantity):
        one = {"meter": "mails", "idempotency_key": key, "quantity": quantity, "at": at}
        return {"events": [one]}

    first = await tenant.post("/v1/usage/events", event("a", 7))
    await fold(database)
    await keep(database)
    beyond = await tenant.post("/v1/usage/events", event("b", 4))
    within = await tenant.post("/v1/usage/events", event("c", 3))

    codes = [answer.status_code for answer in (first, beyond, within)]
    assert codes == [200, 429, 200]


async def test_what_was_dropped_or_put_together_is_no_drift(filled, database, superuser):
    tenant = await filled(**LIMITS)
    superuser(
        "UPDATE audit_log SET at = now() - interval '20 days' WHERE tenant_id = %s",
        tenant.tenant_id,
    )
    superuser("DELETE FROM usage_activity WHERE tenant = %s", tenant.tenant_id)
    superuser(
        "UPDATE usage_changes SET at = now() - interval '20 days' WHERE tenant = %s",
        tenant.tenant_id,
    )

    await keep(database)

    found = await compare(database, UUID(tenant.tenant_id))
    assert found.drift == []
    # The day of the limit is not compared: it may just be going.
    assert found.figures == 2 * 4 + 8 * 4


async def test_tenant_without_limits_keeps_its_minutes_for_ever(filled, sums, grains, database):
    tenant, bounded = await filled(), await filled(**LIMITS)
    before = grains(tenant)

    await keep(database)

    assert grains(tenant) == before
    assert {grain for _, grain in before} == {1}
    assert grains(bounded) != before


async def test_limit_of_its_own_goes_before_the_plans(filled, operator, grains, database):
    tenant = await filled(**LIMITS)
    at = f"/v1/admin/tenants/{tenant.tenant_id}"
    changed = await operator.patch(
        at, {"limits": {"usage_minutes_days": 4, "usage_days_days": None}}
    )
    assert changed.status_code == 200, changed.text

    await keep(database)

    kept = grains(tenant)
    assert {age for age, grain in kept if grain == 1} == {1, 2, 3, 4}
    assert {age for age, _ in kept} == {*range(1, 13)}


async def test_shipped_plans_put_minutes_together_early(operator):
    plans = (await operator.get("/v1/admin/plans")).json()["items"]

    shipped = {plan["slug"]: plan["limits"] for plan in plans}
    assert {shipped[slug]["usage_minutes_days"] for slug in ("free", "pro", "enterprise")} == {2}
    assert shipped["enterprise"]["usage_days_days"] is None


async def test_figures_of_a_purged_tenant_that_came_late_are_swept(
    filled, tenant, operator, superuser, database
):
    gone = await filled()
    await tenant.create("projects", name="Stays")
    assert (await operator.delete(f"/v1/admin/tenants/{gone.tenant_id}")).status_code == 202
    superuser("SELECT set_config('app.tenant_id', %s, false)", gone.tenant_id)
    superuser("UPDATE tenants SET purge_at = now() WHERE id = %s", gone.tenant_id)
    await purge(database, UUID(gone.tenant_id), actor="system:test")
    for statement in (FILL, FILL_DAYS):
        superuser(statement.replace("%(tenant)s", f"'{gone.tenant_id}'::uuid"))

    taken = await keep(database, batch_rows=1_000)

    assert taken["sweep usage_requests"] == 12 * 24 * 5 * 4
    for table in ("usage_requests", "usage_days", "usage_changes", "usage_totals"):
        held = superuser(f"SELECT count(*) FROM {table} WHERE tenant = %s", gone.tenant_id)
        assert held == [(0,)], table
    assert (await tenant.get("/v1/stats")).json()["resources"]["projects"]["total"] == 1


async def test_a_process_that_serves_does_it_by_itself(filled, grains, database):
    tenant = await filled(**LIMITS)

    async with counting(database, 0.01), asyncio.timeout(30):
        await until(lambda: grains(tenant).get((9, 1440)) and (3, 1) not in grains(tenant))

    assert grains(tenant)[1, 1] == 24 * 5 * 4
