"""Requests are counted where they are answered, and each of them is written once."""

import asyncio
import time
from contextlib import contextmanager
from datetime import UTC, datetime

import msgspec
import psycopg
import pytest
from structlog.testing import capture_logs

from saas.app import create_app
from saas.db.database import Database
from saas.usage.request_meter import RequestMeter

PROJECTS = "/v1/projects"
FIGURES = ("route", "status", "kind", "requests", "bytes_in", "bytes_out")


@pytest.fixture
def written(app, superuser):
    """What is written of a tenant, as soon as the app has written all it has counted: requests by
    route, class and kind, with the bytes in and out."""

    async def figures(tenant):
        await app._meter.write()
        rows = superuser.execute(
            """SELECT route, status, kind, sum(requests)::int AS requests,
              sum(bytes_in)::int AS bytes_in, sum(bytes_out)::int AS bytes_out
            FROM usage_requests WHERE tenant = %s GROUP BY route, status, kind""",
            [tenant.tenant_id],
        )
        return {tuple(row.values())[:3]: tuple(row.values())[3:] for row in rows}

    return figures


async def test_requests_count_by_route_class_and_kind_of_caller(
    tenant, other_tenant, member_of, written
):
    made = await tenant.post(PROJECTS, {"name": "First"})
    path = f"{PROJECTS}/{made.json()['id']}"
    read = [await tenant.get(path) for _ in range(3)]
    lost = await tenant.get(f"{PROJECTS}/{other_tenant.tenant_id}")
    bad = await tenant.post(PROJECTS, {"name": 1})
    seen = await member_of(tenant).get(PROJECTS)
    wrong = await tenant("PUT", PROJECTS)

    one = f"{PROJECTS}/{{id}}"
    size = sum(len(answer.content) for answer in read)
    assert (wrong.status_code, lost.status_code, bad.status_code) == (405, 404, 422)
    assert await written(tenant) == {
        (PROJECTS, 2, "key"): (1, len(made.request.content), len(made.content)),
        (PROJECTS, 4, "key"): (1, len(bad.request.content), len(bad.content)),
        (PROJECTS, 2, "member"): (1, 0, len(seen.content)),
        (one, 2, "key"): (3, 0, size),
        (one, 4, "key"): (1, 0, len(lost.content)),
    }
    assert await written(other_tenant) == {}


async def test_a_body_in_pieces_counts_whole_and_a_head_sends_nothing(tenant, written):
    async def pieces():
        for piece in (b'{"name": ', b'"In pieces"', b"}"):
            yield piece

    json = {"Content-Type": "application/json"}
    made = await tenant("POST", PROJECTS, content=pieces(), headers=json)
    assert made.status_code == 201, made.text
    assert (await tenant("HEAD", PROJECTS)).status_code == 200
    export = await tenant.get(f"{PROJECTS}/export?format=jsonl")

    figures = await written(tenant)
    assert figures[PROJECTS, 2, "key"] == (2, len('{"name": "In pieces"}'), len(made.content))
    assert figures[f"{PROJECTS}/export", 2, "key"] == (1, 0, len(export.content))


async def test_refused_requests_count_too(on_plan, written):
    tenant = await on_plan(requests_per_second=1)

    answers = [await tenant.get(PROJECTS) for _ in range(6)]

    refused = sum(answer.status_code == 429 for answer in answers)
    figures = await written(tenant)
    assert refused > 0
    assert figures[PROJECTS, 4, "key"][0] == refused
    assert figures[PROJECTS, 2, "key"][0] == 6 - refused


async def test_a_request_that_nobody_is_known_for_counts_for_nobody(
    tenant, http, operator, app, superuser
):
    total = "SELECT sum(requests) AS requests FROM usage_requests"
    await tenant.get(PROJECTS)
    await app._meter.write()
    before = superuser.execute(total).fetchone()

    headers = [{}, {"Authorization": "Bearer sk_junk"}, {"X-Tenant-ID": tenant.tenant_id}]
    for one in headers:
        assert (await http.get(PROJECTS, headers=one)).status_code == 401
    assert (await http.get("/livez")).status_code == 200
    assert (await operator.get(f"/v1/admin/tenants/{tenant.tenant_id}")).status_code == 200
    assert (await tenant.get("/nowhere")).status_code == 404

    await app._meter.write()
    assert superuser.execute(total).fetchone() == before


async def test_days_are_the_sums_of_minutes(tenant, written, superuser):
    await tenant.get(PROJECTS)
    await tenant.get(f"{PROJECTS}/nothing")

    figures = await written(tenant)

    days = superuser.execute(
        """SELECT sum(requests)::int AS requests, sum(errors)::int AS errors,
          sum(bytes_in)::int AS bytes_in, sum(bytes_out)::int AS bytes_out
        FROM usage_days WHERE tenant = %s""",
        [tenant.tenant_id],
    ).fetchone()
    sums = [sum(numbers) for numbers in zip(*figures.values(), strict=True)]
    assert list(days.values()) == [sums[0], 1, *sums[1:]]


@pytest.fixture
def rows_of(superuser):
    """All rows of a tenant, as they are."""

    def rows(tenant):
        return superuser.execute(
            "SELECT * FROM usage_requests WHERE tenant = %s ORDER BY at, route", [tenant.tenant_id]
        ).fetchall()

    return rows


@pytest.fixture
def meter(database):
    """Of a process of its own, which writes when it is told to."""
    return RequestMeter(database, interval_seconds=3_600)


def count(meter, tenant, times=1, *, seconds=0.001):
    for _ in range(times):
        meter.count((tenant.tenant_id, "key:x"), PROJECTS, 200, seconds, (5, 7))


def sum_of(rows):
    return sum(row["requests"] for row in rows)


async def test_a_row_is_of_its_minute_and_its_latencies_add_up_over_processes(
    tenant, meter, database, rows_of
):
    other = RequestMeter(database, interval_seconds=3_600)
    before = int(time.time() // 60)
    count(meter, tenant, 3, seconds=0.001)
    count(other, tenant, 2, seconds=0.010)
    await asyncio.gather(meter.write(), other.write())
    count(meter, tenant, 4, seconds=0.001)
    await meter.write()

    rows = rows_of(tenant)

    minutes = {datetime.fromtimestamp(m * 60, UTC) for m in range(before, before + 3)}
    assert {row["at"] for row in rows} <= minutes
    assert {row["grain"] for row in rows} == {1}
    assert (sum_of(rows), sum(row["bytes_out"] for row in rows)) == (9, 63)
    latencies = {}
    for row in rows:
        pairs = zip(row["latency_buckets"], row["latency_counts"], strict=True)
        for bucket, times in pairs:
            latencies[bucket] = latencies.get(bucket, 0) + times
    assert sorted(latencies.values()) == [2, 7]


async def test_a_write_that_arrives_twice_counts_once(tenant, meter, rows_of):
    count(meter, tenant, 3)
    meter._take()
    (batch,) = meter._batches

    await meter._send(batch)
    await meter._send(batch)
    assert sum_of(rows_of(tenant)) == 3
    count(meter, tenant, 2)
    await meter.write()

    assert sum_of(rows_of(tenant)) == 5


async def test_what_is_counted_during_a_write_waits_for_the_next_one(tenant, meter, rows_of):
    count(meter, tenant)
    counted = 1

    writing = asyncio.create_task(meter.write())
    async with asyncio.timeout(30):
        while not writing.done():
            await asyncio.sleep(0)
            count(meter, tenant)
            counted += 1
        await writing

    assert 0 < sum_of(rows_of(tenant)) < counted
    await meter.write()
    assert sum_of(rows_of(tenant)) == counted


async def test_many_counts_are_written_in_several_statements(tenant, meter, rows_of, superuser):
    whose = (tenant.tenant_id, "key:x")
    for number in range(2_500):
        meter.count(whose, f"/v1/route-{number}", 200, 0.001, (5, 7))

    await meter.write()

    query = "SELECT writes FROM usage_writers WHERE id = %s"
    assert superuser.execute(query, [meter._id]).fetchone() == {"writes": 2}
    assert sum_of(rows_of(tenant)) == 2_500


_WRITING = """SELECT pid FROM pg_stat_activity
WHERE query LIKE '%%INSERT INTO usage_writers%%' AND wait_event_type = 'Lock' AND pid <> %s"""


async def test_a_write_that_is_cut_off_is_repeated_and_counts_once(
    tenant, meter, rows_of, superuser, postgres
):
    count(meter, tenant, 3)
    await meter.write()
    count(meter, tenant, 4)
    url = postgres.dsn(postgres.superuser, "saas")

    with psycopg.connect(url) as holder:
        holder.execute(
            "UPDATE usage_days SET errors = errors WHERE tenant = %s", [tenant.tenant_id]
        )
        writing = asyncio.create_task(meter.write())
        for _ in range(1_000):
            if found := superuser.execute(_WRITING, [superuser.info.backend_pid]).fetchall():
                break
            await asyncio.sleep(0.01)
        superuser.execute("SELECT pg_terminate_backend(%s)", [found[0]["pid"]])
        await writing
        assert sum_of(rows_of(tenant)) == 3
    count(meter, tenant, 5)
    await meter.write()

    assert sum_of(rows_of(tenant)) == 12


@contextmanager
def database_away(superuser):
    """The platform's role gets no connection, and has none."""
    superuser.execute("ALTER ROLE saas_platform CONNECTION LIMIT 0")
    superuser.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'saas_platform'"
    )
    try:
        yield
    finally:
        superuser.execute("ALTER ROLE saas_platform CONNECTION LIMIT -1")


async def test_while_the_database_is_away_counts_are_kept_and_written_later(
    tenant, settings, superuser, rows_of
):
    urls = settings.database_url, settings.platform_database_url
    async with Database(*urls, size=2) as away:
        meter = RequestMeter(away, interval_seconds=0.01)
        async with meter.written():
            with database_away(superuser):
                for _ in range(3):
                    count(meter, tenant, 2)
                    await meter.write()
                assert rows_of(tenant) == []
            count(meter, tenant, 1)

    assert sum_of(rows_of(tenant)) == 7


async def test_while_the_database_stays_away_the_oldest_counts_are_given_up_and_told(
    tenant, settings, superuser
):
    whose = (tenant.tenant_id, "key:x")
    urls = settings.database_url, settings.platform_database_url
    async with Database(*urls, size=2) as away:
        meter = RequestMeter(away, interval_seconds=3_600)
        with database_away(superuser), capture_logs() as logs:
            for times in (1, 2):
                for number in range(100_001):
                    for _ in range(times):
                        meter.count(whose, f"/v1/{number}", 200, 0.001, (0, 0))
                await meter.write()

    told = [(line["event"], line.get("requests")) for line in logs]
    assert told == [
        ("usage_not_written", None),
        ("usage_not_written", None),
        ("usage_lost", 100_001),
    ]
    assert meter._waiting() == 200_002


async def test_what_is_counted_is_written_at_the_end_of_the_process(
    tenant, settings, serve, rows_of
):
    async with serve(create_app(settings)) as http:
        caller = type(tenant)(http, tenant.key, tenant.body)
        for _ in range(5):
            assert (await caller.get(PROJECTS)).status_code == 200
        assert rows_of(tenant) == []

    assert sum_of(rows_of(tenant)) == 5


async def test_an_interval_of_zero_counts_no_request(tenant, settings, serve, rows_of):
    off = msgspec.structs.replace(settings, usage_seconds=0)
    async with serve(create_app(off)) as http:
        caller = type(tenant)(http, tenant.key, tenant.body)
        assert (await caller.get(PROJECTS)).status_code == 200

    assert rows_of(tenant) == []


@pytest.mark.parametrize(
    "change", ["status = 'deleted'", 'deletion = \'{"started_at": "2026-01-01T00:00:00Z"}\'']
)
async def test_a_tenant_that_is_purged_gets_no_row_back(
    tenant, other_tenant, meter, rows_of, as_replica, change
):
    for caller in (tenant, other_tenant):
        count(meter, caller, 2)
    as_replica(f"UPDATE tenants SET {change} WHERE id = '{tenant.tenant_id}'")

    await meter.write()

    assert rows_of(tenant) == []
    assert sum_of(rows_of(other_tenant)) == 2
