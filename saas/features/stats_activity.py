"""What was changed in a tenant over time, and by whom."""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from saas.usage.activity_series import ActivityFigures, TopActor, activity
from saas.usage.buckets import Span
from saas.web import charts, csv_answer
from saas.web.accepted import VARY_ACCEPT
from saas.web.answer import json_answer
from saas.web.charts import Chart, Line, chart_answer
from saas.web.described import described
from saas.web.pages import query_pairs
from saas.web.routed import AnyRequest
from saas.web.series_answer import FILES, Point, labels, points, starts, wanted_form
from saas.web.series_request import SPAN_PARAMETERS, wanted_span


class ActivitySeries(msgspec.Struct, frozen=True):
    """`action` is created, updated or deleted."""

    resource: str
    action: str
    points: list[Point]


class Activity(msgspec.Struct, frozen=True, rename={"from_": "from"}):
    """`top_actors` are the ten who changed most from `from` to `to`, most first."""

    bucket: str
    tz: str
    from_: datetime
    to: datetime
    series: list[ActivitySeries]
    top_actors: list[TopActor]


def activity_handlers(resources: Sequence[str]) -> list[HTTPRouteHandler]:
    """`GET /v1/stats/activity` on the rows of `resources`."""

    @get(
        "/v1/stats/activity",
        **described(
            "stats.activity",
            "What was changed over time, and by whom",
            permission="stats:read",
            success=200,
            body=Activity,
            gives=FILES,
            refusals=(400,),
            parameters=SPAN_PARAMETERS,
        ),
    )
    async def get_activity(request: AnyRequest) -> ASGIApp:
        given = dict(query_pairs(request))
        span = wanted_span(given, datetime.now(UTC))
        form = wanted_form(request, span)
        found = await activity(span, resources)
        tz = given.get("tz", "UTC")
        if form == csv_answer.MEDIA_TYPE:
            return _csv(span, found)
        if form == charts.MEDIA_TYPE:
            return chart_answer(_chart(span, found, tz))
        return json_answer(_answer(span, found, tz), headers=[VARY_ACCEPT])

    return [get_activity]


def _answer(span: Span, found: ActivityFigures, tz: str) -> Activity:
    times = starts(span)
    return Activity(
        bucket=span.calendar.unit,
        tz=tz,
        from_=span.local(span.begin),
        to=span.local(span.end),
        series=[
            ActivitySeries(resource, action, points(times, values))
            for (resource, action), values in found.series.items()
        ],
        top_actors=found.top_actors,
    )


def _csv(span: Span, found: ActivityFigures) -> ASGIApp:
    times = starts(span)
    return csv_answer.slow_csv_answer(
        "activity",
        ["at", "resource", "action", "value"],
        (
            [at, resource, action, value]
            for (resource, action), values in found.series.items()
            for at, value in zip(times, values, strict=True)
        ),
    )


def _chart(span: Span, found: ActivityFigures, tz: str) -> Chart:
    lines = [
        Line(f"{resource} {action}", values) for (resource, action), values in found.series.items()
    ]
    title = f"activity by {span.calendar.unit}, {tz}"
    return Chart(title, labels(span), lines, is_stacked=True)
