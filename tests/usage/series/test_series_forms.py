"""Series as CSV and as pictures, and which of them a request gets."""

import asyncio
import csv
import io
import re
import threading
from collections import Counter
from xml.etree import ElementTree

import pytest

from saas.web.slow_answer import MOST_WAITING, workshop

USAGE = "/v1/stats/usage?metric=requests&from=2026-01-01&to=2026-01-03"
ACTIVITY = "/v1/stats/activity?from=2026-01-01&to=2026-01-02"
SVG = "{http://www.w3.org/2000/svg}"
# A template of a route is the developer's, but no text may be more than text.
HOSTILE = '=<script>alert(1)</script>&"]]>'


async def as_csv(tenant, path):
    answer = await tenant.get(path, headers={"Accept": "text/csv"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    return [*csv.reader(io.StringIO(answer.text))]


async def as_svg(tenant, path):
    answer = await tenant.get(path, headers={"Accept": "image/svg+xml"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/svg+xml"
    return answer


def drawing(answer):
    """Fails for what is no well-formed XML."""
    return ElementTree.fromstring(answer.content)  # noqa: S314 - It is our own.


async def test_usage_as_csv_has_a_line_for_each_point(tenant, figures):
    figures.day(tenant, "2026-01-02", 7)

    assert await as_csv(tenant, USAGE) == [
        ["at", "group", "value"],
        ["2026-01-01T00:00:00Z", "", "0"],
        ["2026-01-02T00:00:00Z", "", "7"],
    ]


async def test_compared_csv_says_which_period_a_line_is_of(tenant, figures):
    figures.day(tenant, "2025-12-31", 4)

    lines = await as_csv(tenant, f"{USAGE}&compare=previous")

    assert lines[0] == ["at", "group", "value", "period"]
    assert [line[2:] for line in lines[1:]] == [
        ["0", "current"],
        ["0", "current"],
        ["0", "previous"],
        ["4", "previous"],
    ]


async def test_group_in_csv_is_no_formula(tenant, figures):
    figures.requests(tenant, "2026-01-01T10:00Z", route=HOSTILE)

    lines = await as_csv(tenant, f"{USAGE}&group_by=route")

    assert [line[1] for line in lines] == ["group", f"'{HOSTILE}", f"'{HOSTILE}"]


async def test_activity_as_csv_has_a_line_for_each_point(tenant, figures):
    figures.activity(tenant, "2026-01-01T10:00Z", "member:a", (0, 3, 0))

    lines = await as_csv(tenant, f"{ACTIVITY}&tz=Europe/Berlin")

    assert lines[0] == ["at", "resource", "action", "value"]
    assert len(lines) == 1 + 6
    assert ["2026-01-01T00:00:00+01:00", "projects", "updated", "3"] in lines


@pytest.mark.parametrize(
    "path",
    [
        USAGE,
        f"{USAGE}&group_by=route&compare=previous",
        ACTIVITY,
        # Nothing was counted then.
        ACTIVITY.replace("2026", "2024"),
        f"{USAGE.replace('2026', '2024')}&group_by=route",
    ],
)
async def test_chart_is_a_drawing_that_runs_and_loads_nothing(tenant, figures, path):
    figures.requests(tenant, "2026-01-01T10:00Z", route=HOSTILE)
    figures.activity(tenant, "2026-01-01T10:00Z", "member:a", (3, 2, 1))

    answer = await as_svg(tenant, path)

    root = drawing(answer)
    names = {element.tag for element in root.iter()}
    assert root.tag == f"{SVG}svg"
    assert {name.removeprefix(SVG) for name in names}.isdisjoint(
        {"script", "foreignObject", "image", "use", "a", "iframe"}
    )
    attributes = [pair for element in root.iter() for pair in element.attrib.items()]
    assert not [name for name, _ in attributes if "href" in name or name.startswith("on")]
    styles = "".join(element.text or "" for element in root.iter(f"{SVG}style"))
    assert not re.search(r"url\(|@import|//", styles)
    addresses = {*re.findall(r"\w+://[^\"' <]+", answer.text)}
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert "default-src 'none'" in answer.headers["content-security-policy"]


async def test_chart_shows_names_as_text(tenant, figures):
    figures.requests(tenant, "2026-01-01T10:00Z", route=HOSTILE)

    answer = await as_svg(tenant, f"{USAGE}&group_by=route")

    texts = [element.text for element in drawing(answer).iter()]
    assert HOSTILE in texts
    assert "requests by day, UTC" in texts
    assert "<script" not in answer.text


async def test_chart_of_more_buckets_than_can_be_seen_is_refused(tenant):
    hours = "bucket=hour&from=2026-01-01&to=2026-01-17T17:00:00Z"
    path = f"/v1/stats/usage?metric=requests&{hours}"

    assert (await tenant.get(path)).status_code == 200
    refused = await tenant.get(path, headers={"Accept": "image/svg+xml"})

    assert refused.status_code == 400
    assert "at most 400 buckets" in refused.json()["detail"]


@pytest.mark.parametrize("form", ["image/svg+xml", "text/csv"])
async def test_files_beyond_those_of_a_tenant_that_may_wait_are_refused(tenant, other_tenant, form):
    asked = {"Accept": form}
    pen = threading.Event()
    held = asyncio.create_task(workshop.made("somebody", lambda: pen.wait() and b""))
    waiting = [
        asyncio.create_task(tenant.get(ACTIVITY, headers=asked)) for _ in range(MOST_WAITING + 1)
    ]
    try:
        done, _ = await asyncio.wait(waiting, return_when="FIRST_COMPLETED")
        others = asyncio.create_task(as_svg(other_tenant, ACTIVITY))
    finally:
        pen.set()

    refused = done.pop().result()
    assert refused.status_code == 429
    assert refused.json()["code"] == "too_many_at_once"
    assert refused.headers["retry-after"] == "1"
    assert drawing(await others).tag == f"{SVG}svg"
    answers = await asyncio.gather(*waiting)
    assert Counter(answer.status_code for answer in answers) == {200: MOST_WAITING, 429: 1}
    assert await held == b""


@pytest.mark.parametrize(
    ("accept", "given"),
    [
        (None, "application/json"),
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        ("text/csv", "text/csv; charset=utf-8"),
        ("text/*", "text/csv; charset=utf-8"),
        ("TEXT/CSV; Q=0.5", "text/csv; charset=utf-8"),
        ("text/csv;q=0.9, application/json;q=0.8", "text/csv; charset=utf-8"),
        ("text/csv, application/json", "application/json"),
        ("*/*;q=0.5, text/csv", "text/csv; charset=utf-8"),
        ("text/csv;q=0, */*", "application/json"),
        ("application/json;q=0, text/csv;q=0.1", "text/csv; charset=utf-8"),
        # As a browser asks for a picture.
        ("image/avif,image/webp,image/svg+xml,image/*;q=0.8,*/*;q=0.5", "image/svg+xml"),
        # None of them: an answer helps more than a refusal.
        ("application/pdf", "application/json"),
        ("text/csv;q=many", "application/json"),
        (",;q", "application/json"),
    ],
)
async def test_request_gets_the_form_that_it_would_rather_have(tenant, accept, given):
    headers = {} if accept is None else {"Accept": accept}

    for path in (USAGE, ACTIVITY):
        answer = await tenant.get(path, headers=headers)
        assert (answer.status_code, answer.headers["content-type"]) == (200, given)
        assert answer.headers["vary"].startswith("Accept, Authorization")


async def test_head_tells_of_a_file_what_get_does(tenant):
    for media_type in ("text/csv", "image/svg+xml"):
        answer = await tenant("HEAD", USAGE, headers={"Accept": media_type})
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["content-type"].startswith(media_type)
