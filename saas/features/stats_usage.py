"""How much a tenant is used over time: requests, rows written, and the product's own meters."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp
from msgspec import UNSET, UnsetType

from saas.db.query import bad_parameter
from saas.limits import METER_PATTERN
from saas.usage.buckets import Span
from saas.usage.meter_series import has_meter, meter_names
from saas.usage.metrics import GROUPS, METRICS, can_be_meter, groups_of, metric_figures
from saas.usage.series import halves, without_empty
from saas.web import charts, csv_answer
from saas.web.accepted import VARY_ACCEPT
from saas.web.answer import json_answer
from saas.web.charts import Chart, Line, chart_answer
from saas.web.csv_answer import Cell
from saas.web.described import described, query_parameter
from saas.web.pages import query_pairs
from saas.web.routed import AnyRequest
from saas.web.series_answer import FILES, Period, Series, labels, period, wanted_form
from saas.web.series_request import SPAN_PARAMETERS, wanted_choice, wanted_span

_PREVIOUS = "previous"
_PARAMETERS = (
    query_parameter(
        "metric",
        {"type": "string", "pattern": METER_PATTERN, "examples": ["requests"]},
        f"{', '.join(METRICS)}, or a meter of the product that has counted something. Latency is "
        "in milliseconds.",
    )
    | {"required": True},
    *SPAN_PARAMETERS,
    query_parameter(
        "group_by",
        {"type": "string", "enum": list(GROUPS)},
        "One series for each group that has something; an actor is grouped by its kind. Rows "
        "written and meters know only actor.",
    ),
    query_parameter(
        "compare",
        {"type": "string", "enum": [_PREVIOUS]},
        "Adds as many buckets from before them.",
    ),
)


class Usage(msgspec.Struct, frozen=True, rename={"from_": "from"}):
    """`from` and `to` are where buckets begin and end."""

    metric: str
    bucket: str
    tz: str
    from_: datetime
    to: datetime
    series: list[Series]
    previous: Period | UnsetType = UNSET


class _Wish(msgspec.Struct, frozen=True):
    metric: str
    span: Span
    tz: str
    group_by: str | None
    compares: bool
    resources: Sequence[str]


def usage_handlers(resources: Sequence[str]) -> list[HTTPRouteHandler]:
    """`GET /v1/stats/usage`; rows written are those of `resources`."""

    @get(
        "/v1/stats/usage",
        **described(
            "stats.usage",
            "How much the tenant is used over time",
            permission="stats:read",
            success=200,
            body=Usage,
            gives=FILES,
            refusals=(400,),
            parameters=_PARAMETERS,
        ),
    )
    async def get_usage(request: AnyRequest) -> ASGIApp:
        wish = _wish(dict(query_pairs(request)), resources)
        form = wanted_form(request, wish.span)
        usage = await _usage(wish)
        if form == csv_answer.MEDIA_TYPE:
            return _csv(usage)
        if form == charts.MEDIA_TYPE:
            return chart_answer(_chart(usage, labels(wish.span)))
        return json_answer(usage, headers=[VARY_ACCEPT])

    return [get_usage]


def _wish(given: Mapping[str, str], resources: Sequence[str]) -> _Wish:
    """Raises BadRequest naming what is allowed; whether a meter is known is not asked yet."""
    if "metric" not in given:
        raise bad_parameter("metric", f"It is needed. Give one of: {', '.join(METRICS)}.")
    metric = given["metric"]
    return _Wish(
        metric=metric,
        span=wanted_span(given, datetime.now(UTC)),
        tz=given.get("tz", "UTC"),
        group_by=wanted_choice(given, "group_by", groups_of(metric)),
        compares=wanted_choice(given, "compare", (_PREVIOUS,)) is not None,
        resources=resources,
    )


async def _usage(wish: _Wish) -> Usage:
    if wish.metric not in METRICS:
        await _require_meter(wish.metric)
    span, before = wish.span, wish.span.previous() if wish.compares else None
    found = await metric_figures(
        wish.metric,
        span.after(before) if before else span,
        resources=wish.resources,
        group_by=wish.group_by,
    )
    # One statement reads both periods, so both are of one moment.
    past, present = halves(found) if before else ({}, found)
    shown = period(span, without_empty(present))
    return Usage(
        metric=wish.metric,
        bucket=span.calendar.unit,
        tz=wish.tz,
        from_=shown.from_,
        to=shown.to,
        series=shown.series,
        previous=period(before, without_empty(past)) if before else UNSET,
    )


async def _require_meter(name: str) -> None:
    if not can_be_meter(name) or not await has_meter(name):
        known = [*METRICS, *await meter_names()]
        raise bad_parameter("metric", f"Give one of: {', '.join(known)}.")


def _periods(usage: Usage) -> list[tuple[str, list[Series]]]:
    if usage.previous is UNSET:
        return [("current", usage.series)]
    return [("current", usage.series), (_PREVIOUS, usage.previous.series)]


def _csv(usage: Usage) -> ASGIApp:
    """The period stands in a column of its own where there are two."""
    compares = usage.previous is not UNSET

    def lines() -> Iterator[list[Cell]]:
        for name, series in _periods(usage):
            for one in series:
                for point in one.points:
                    line: list[Cell] = [point.at, one.group, point.value]
                    yield [*line, name] if compares else line

    head = ["at", "group", "value", *(["period"] if compares else [])]
    return csv_answer.slow_csv_answer("usage", head, lines())


def _chart(usage: Usage, names: Sequence[str]) -> Chart:
    lines = [
        Line(
            one.group or ("all" if name == "current" else "all, before"),
            [point.value for point in one.points],
            is_dashed=name == _PREVIOUS,
        )
        for name, series in _periods(usage)
        for one in series
    ]
    return Chart(f"{usage.metric} by {usage.bucket}, {usage.tz}", names, lines)
