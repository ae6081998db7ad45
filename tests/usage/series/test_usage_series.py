"""What was used, by bucket and group: each figure exactly once."""

import pytest

from saas.db.database import Database
from saas.usage.folding import fold
from saas.usage.latency import percentile

JANUARY = {"from": "2026-01-01", "to": "2026-01-05"}


@pytest.fixture
async def used(tenant, figures):
    """Requests of three days in January, by route, status and kind, at each grain."""
    figures.requests(tenant, "2026-01-01T10:07Z", requests=3, bytes_in=5, bytes_out=70)
    figures.requests(tenant, "2026-01-01T10:08Z", requests=2, status=5, kind="member")
    figures.requests(tenant, "2026-01-01T23:45Z", requests=4, grain=15, route="/v1/tasks")
    figures.requests(tenant, "2026-01-04T00:00Z", requests=7, grain=1440, status=4, bytes_in=1)
    figures.day(tenant, "2026-01-01", 9, 2)
    figures.day(tenant, "2026-01-04", 7, 7)
    return tenant


async def test_requests_of_each_day_are_those_of_all_grains(used, series):
    assert await series("requests", **JANUARY) == {None: [9, 0, 0, 7]}
    assert await series("errors", **JANUARY) == {None: [2, 0, 0, 7]}


async def test_requests_in_another_zone_are_in_its_own_days(used, series):
    berlin = JANUARY | {"tz": "Europe/Berlin"}

    # 23:45 in UTC is the next day there; what is known by day counts where most of it is.
    assert await series("requests", **berlin) == {None: [5, 4, 0, 7]}
    assert await series("bytes_in", **berlin) == {None: [5, 0, 0, 1]}
    assert await series("bytes_out", **berlin) == {None: [70, 0, 0, 0]}
    assert await series("requests", **JANUARY | {"tz": "America/New_York"}) == {None: [9, 0, 0, 7]}


async def test_requests_of_each_hour_are_counted_from_minutes(used, series):
    hours = {"bucket": "hour", "from": "2026-01-01T09:00:00Z", "to": "2026-01-01T12:00:00Z"}

    assert await series("requests", **hours) == {None: [0, 5, 0]}
    kathmandu = await series("requests", **hours, tz="Asia/Kathmandu")
    assert kathmandu == {None: [0, 5, 0, 0]}


@pytest.mark.parametrize(
    ("metric", "group_by", "expected"),
    [
        ("requests", "route", {"/v1/projects": [5, 0, 0, 7], "/v1/tasks": [4, 0, 0, 0]}),
        ("requests", "status", {"2xx": [7, 0, 0, 0], "4xx": [0, 0, 0, 7], "5xx": [2, 0, 0, 0]}),
        ("requests", "actor", {"key": [7, 0, 0, 7], "member": [2, 0, 0, 0]}),
        # A group that has nothing is no series.
        ("errors", "route", {"/v1/projects": [2, 0, 0, 7]}),
        ("bytes_out", "actor", {"key": [70, 0, 0, 0]}),
    ],
)
async def test_each_group_that_has_something_is_a_series(used, series, metric, group_by, expected):
    assert await series(metric, group_by=group_by, **JANUARY) == expected


async def test_without_figures_there_is_one_series_of_zeros_and_no_group(series):
    for metric in ("requests", "errors", "latency_p95", "rows_written"):
        assert await series(metric, **JANUARY) == {None: [0, 0, 0, 0]}
        assert await series(metric, group_by="actor", **JANUARY) == {}


async def test_latency_is_the_percentile_of_all_that_was_counted(tenant, figures, series):
    at = "2026-01-02T00:00Z"
    figures.requests(
        tenant, at, requests=90, latency_buckets=[10, 20, 10], latency_counts=[40, 10, 40]
    )
    figures.requests(
        tenant, at, requests=10, route="/v1/tasks", latency_buckets=[40], latency_counts=[10]
    )
    counts = {10: 80, 20: 10, 40: 10}

    for name, share in (("latency_p50", 0.5), ("latency_p95", 0.95), ("latency_p99", 0.99)):
        assert await series(name, **JANUARY) == {None: [0, percentile(counts, share), 0, 0]}
    by_route = await series("latency_p50", group_by="route", **JANUARY)
    assert by_route == {
        "/v1/projects": [0, percentile({10: 80, 20: 10}, 0.5), 0, 0],
        "/v1/tasks": [0, percentile({40: 10}, 0.5), 0, 0],
    }


async def test_compare_adds_as_many_buckets_from_before(used, figures):
    figures.requests(used, "2025-12-30T12:00Z", requests=6, route="/v1/me")
    figures.day(used, "2025-12-30", 6)
    query = {"metric": "requests", "compare": "previous", "tz": "Europe/Berlin", **JANUARY}

    found = (await used.get("/v1/stats/usage", params=query)).json()
    grouped = (await used.get("/v1/stats/usage", params=query | {"group_by": "route"})).json()

    before = found["previous"]
    assert (before["from"], before["to"]) == ("2025-12-28T00:00:00+01:00", found["from"])
    assert [point["value"] for point in found["series"][0]["points"]] == [5, 4, 0, 7]
    assert [point["value"] for point in before["series"][0]["points"]] == [0, 0, 6, 0]
    assert [one["group"] for one in grouped["series"]] == ["/v1/projects", "/v1/tasks"]
    assert [one["group"] for one in grouped["previous"]["series"]] == ["/v1/me"]


async def test_rows_written_are_those_of_the_resources_folded_or_not(tenant, series, settings):
    row = await tenant.create("projects", name="Rocket")
    await tenant.patch(f"/v1/projects/{row['id']}", {"budget_cents": 1})
    await tenant.post("/v1/invitations", {"email": "ada@rocket.test", "role": "viewer"})

    new = await series("rows_written")
    async with Database(settings.database_url, settings.platform_database_url) as database:
        await fold(database)
    await tenant.delete(f"/v1/projects/{row['id']}")

    assert (sum(new[None]), len(new[None]), new[None][-1]) == (2, 30, 2)
    assert (await series("rows_written"))[None][-1] == 3
    assert (await series("rows_written", group_by="actor"))["key"][-1] == 3
    assert (await series("rows_written", bucket="hour", tz="Asia/Kolkata"))[None][-1] in {1, 2, 3}


async def test_request_is_in_every_series_once_it_is_written(tenant, series, app):
    for _ in range(3):
        await tenant.get("/v1/projects")
    await tenant.get("/v1/nothing")
    await app._meter.write()

    assert (await series("requests"))[None][-1] == 3
    assert sum((await series("requests", tz="Asia/Kathmandu"))[None]) == 3
    assert (await series("latency_p99", group_by="route"))["/v1/projects"][-1] > 0


async def test_meter_of_the_product_is_a_metric_folded_or_not(tenant, figures, series):
    figures.meter(tenant, "2026-01-01T10:00Z", 3)
    figures.meter(tenant, "2026-01-04T10:00Z", 2**62, "member")
    figures.new_events(tenant, "2026-01-04T11:07Z", 2**62)

    assert await series("pdf_pages", **JANUARY) == {None: [3, 0, 0, 2**63]}
    grouped = await series("pdf_pages", group_by="actor", **JANUARY)
    assert grouped == {"key": [3, 0, 0, 2**62], "member": [0, 0, 0, 2**62]}
    assert await series("pdf_pages", **{"from": "2025-01-01", "to": "2025-01-02"}) == {None: [0]}


async def test_another_tenants_figures_move_nothing(used, other_tenant, figures, series):
    metrics = ("requests", "errors", "latency_p50", "bytes_in", "rows_written")
    before = [await series(metric, **JANUARY) for metric in metrics]
    zoned = await series("requests", tz="Europe/Berlin", group_by="route", **JANUARY)

    figures.requests(other_tenant, "2026-01-01T10:07Z", requests=50, status=5, latency_buckets=[60])
    figures.requests(other_tenant, "2026-01-02T10:07Z", requests=50, route="/v1/tasks")
    figures.day(other_tenant, "2026-01-01", 50, 50)
    figures.activity(other_tenant, "2026-01-01T10:00Z", "member:x", (1, 1, 1))

    assert [await series(metric, **JANUARY) for metric in metrics] == before
    assert await series("requests", tz="Europe/Berlin", group_by="route", **JANUARY) == zoned
    assert await series("requests", of=other_tenant, **JANUARY) == {None: [50, 0, 0, 0]}
    assert await series("rows_written", of=other_tenant, **JANUARY) == {None: [3, 0, 0, 0]}
