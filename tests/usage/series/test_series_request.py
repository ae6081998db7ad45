"""Which buckets a request asks for, and what is refused."""

from datetime import UTC, datetime, timedelta

import pytest

PATHS = ("/v1/stats/usage?metric=requests&", "/v1/stats/activity?")


def refused(answer, name):
    """What a refused parameter should have been."""
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    (fault,) = answer.json()["errors"]
    assert (fault["pointer"], fault["code"]) == (f"/{name}", "bad_parameter")
    return fault["message"]


@pytest.mark.parametrize("path", PATHS)
async def test_without_a_time_there_are_thirty_buckets_up_to_the_present_one(tenant, path):
    found = (await tenant.get(f"{path}bucket=hour&tz=Asia/Kathmandu")).json()

    now = datetime.now(UTC)
    begin, end = (datetime.fromisoformat(found[name]) for name in ("from", "to"))
    assert len(found["series"][0]["points"]) == 30
    assert (end - begin, end - timedelta(hours=1) <= now < end + timedelta(minutes=1)) == (
        timedelta(hours=30),
        True,
    )
    assert (found["bucket"], found["tz"], end.utcoffset()) == (
        "hour",
        "Asia/Kathmandu",
        timedelta(hours=5, minutes=45),
    )


@pytest.mark.parametrize(
    ("query", "begin", "end", "count"),
    [
        ("from=2026-01-01&to=2026-02-01", "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z", 31),
        # Whole buckets, also where the times lie inside them.
        (
            "bucket=month&from=2026-01-15&to=2026-02-01T00:00:01Z",
            "2026-01-01T00:00:00Z",
            "2026-03-01T00:00:00Z",
            2,
        ),
        (
            "bucket=week&from=2026-01-01&to=2026-01-06",
            "2025-12-29T00:00:00Z",
            "2026-01-12T00:00:00Z",
            2,
        ),
        (
            "tz=Europe/Berlin&from=2026-03-28&to=2026-03-31",
            "2026-03-28T00:00:00+01:00",
            "2026-03-31T00:00:00+02:00",
            3,
        ),
        (
            "tz=Europe/Berlin&bucket=hour&from=2026-10-25&to=2026-10-26",
            "2026-10-25T00:00:00+02:00",
            "2026-10-26T00:00:00+01:00",
            25,
        ),
        ("to=2026-03-01", "2026-01-30T00:00:00Z", "2026-03-01T00:00:00Z", 30),
        (
            "from=2026-01-01T00:00:00%2B02:00&to=2026-01-01T00:00:00Z",
            "2025-12-31T00:00:00Z",
            "2026-01-01T00:00:00Z",
            1,
        ),
        (
            "bucket=hour&from=2026-01-01&to=2026-04-11",
            "2026-01-01T00:00:00Z",
            "2026-04-11T00:00:00Z",
            2_400,
        ),
        ("from=2000-01-01&to=2000-01-02", "2000-01-01T00:00:00Z", "2000-01-02T00:00:00Z", 1),
        (
            "tz=Europe/Berlin&from=2000-01-01&to=2000-01-02",
            "2000-01-01T00:00:00+01:00",
            "2000-01-02T00:00:00+01:00",
            1,
        ),
    ],
)
@pytest.mark.parametrize("path", PATHS)
async def test_series_has_whole_buckets_around_what_is_asked_for(
    tenant, path, query, begin, end, count
):
    answer = await tenant.get(path + query)

    found = answer.json()
    assert answer.status_code == 200, answer.text
    assert (found["from"], found["to"]) == (begin, end)
    points = found["series"][0]["points"]
    assert (points[0]["at"], len(points)) == (begin, count)


async def test_from_alone_goes_on_to_the_present_bucket(tenant):
    begin = (datetime.now(UTC) - timedelta(days=2)).date().isoformat()

    found = (await tenant.get(f"/v1/stats/activity?from={begin}")).json()

    assert 3 <= len(found["series"][0]["points"]) <= 4
    assert found["from"] == f"{begin}T00:00:00Z"


@pytest.mark.parametrize(
    ("query", "name", "message"),
    [
        ("bucket=minute", "bucket", "Give one of: hour, day, week, month."),
        ("bucket=", "bucket", "Give one of: hour, day, week, month."),
        ("tz=Mars/Olympus", "tz", "Europe/Berlin"),
        ("tz=", "tz", "Europe/Berlin"),
        ("tz=../../etc/passwd", "tz", "Europe/Berlin"),
        ("tz=/etc/localtime", "tz", "Europe/Berlin"),
        ("tz=Europe", "tz", "Europe/Berlin"),
        ("tz=right/Europe/Berlin", "tz", "Europe/Berlin"),
        ("tz=%00", "tz", "Europe/Berlin"),
        ("from=yesterday", "from", "2026-01-31T09:00:00Z"),
        ("from=2026-02-30", "from", "2026-01-31T09:00:00Z"),
        ("from=2026-01-31T09:00:00", "from", "with its offset"),
        ("to=", "to", "2026-01-31T09:00:00Z"),
        ("to=2026-01-31T09:00:00+01:00", "to", "%2B"),
        ("from=1999-12-31", "from", "from 2000 to 2100"),
        ("from=0001-01-01&tz=Asia/Tokyo", "from", "2026-01-31T09:00:00Z"),
        ("to=2101-01-01", "to", "from 2000 to 2100"),
        ("to=9999-12-31T23:59:59-12:00", "to", "2026-01-31T09:00:00Z"),
        ("from=2026-01-02&to=2026-01-01", "from", "before `to`"),
        ("from=2026-01-01&to=2026-01-01", "from", "before `to`"),
        ("from=2099-01-01", "from", "before `to`"),
        ("bucket=hour&from=2026-01-01&to=2026-04-11T00:00:01Z", "bucket", "At most 2400"),
        ("from=2000-01-01&to=2100-12-31", "bucket", "At most 2400"),
        ("colour=red", "colour", "Allowed: "),
        ("tz=UTC&tz=UTC", "tz", "Give it once."),
    ],
)
@pytest.mark.parametrize("path", PATHS)
async def test_bad_range_is_refused_saying_what_is_allowed(tenant, path, query, name, message):
    assert message in refused(await tenant.get(path + query), name)


METRICS = (
    "requests, errors, latency_p50, latency_p95, latency_p99, bytes_in, bytes_out, rows_written"
)


@pytest.mark.parametrize(
    ("query", "name", "message"),
    [
        ("", "metric", f"It is needed. Give one of: {METRICS}."),
        ("metric=", "metric", f"Give one of: {METRICS}."),
        ("metric=pages", "metric", f"Give one of: {METRICS}."),
        ("metric=%00", "metric", f"Give one of: {METRICS}."),
        ("metric=requests&group_by=colour", "group_by", "Give one of: route, status, actor."),
        ("metric=rows_written&group_by=route", "group_by", "Give one of: actor."),
        ("metric=rows_written&group_by=status", "group_by", "Give one of: actor."),
        ("metric=requests&compare=next", "compare", "Give one of: previous."),
    ],
)
async def test_bad_metric_or_group_is_refused_naming_what_is_allowed(tenant, query, name, message):
    assert refused(await tenant.get(f"/v1/stats/usage?{query}"), name) == message


async def test_refused_metric_names_the_tenants_own_meters_and_no_others(
    tenant, other_tenant, figures
):
    figures.new_events(tenant, "2026-01-01T10:00Z", 1)

    own = refused(await tenant.get("/v1/stats/usage?metric=pages"), "metric")
    strangers = refused(await other_tenant.get("/v1/stats/usage?metric=pdf_pages"), "metric")

    assert own == f"Give one of: {METRICS}, pdf_pages."
    assert strangers == f"Give one of: {METRICS}."
    assert (await tenant.get("/v1/stats/usage?metric=pdf_pages")).status_code == 200


async def test_series_need_the_permission_of_figures(tenant):
    made = await tenant.post("/v1/api-keys", {"name": "Reader", "permissions": ["projects:read"]})
    headers = {"Authorization": f"Bearer {made.json()['key']}"}

    for path in PATHS:
        assert (await tenant.get(path)).status_code == 200
        assert (await tenant.get(path, headers=headers)).status_code == 403


async def test_document_describes_every_parameter_and_form(http):
    paths = (await http.get("/openapi.json")).json()["paths"]

    usage, activity = (paths[f"/v1/stats/{name}"]["get"] for name in ("usage", "activity"))
    named = {p["name"]: p.get("required") for p in usage["parameters"] if "name" in p}
    span = dict.fromkeys(("from", "to", "bucket", "tz"), False)
    assert named == {"metric": True, **span, "group_by": False, "compare": False}
    assert {p["name"] for p in activity["parameters"] if "name" in p} == {*span}
    for operation in (usage, activity):
        content = operation["responses"]["200"]["content"]
        assert [*content] == ["application/json", "text/csv", "image/svg+xml"]
        assert "400" in operation["responses"]
