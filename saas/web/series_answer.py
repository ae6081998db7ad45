"""What the answers with series share: their shapes, and how buckets read below a chart."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from saas.db.query import bad_parameter
from saas.usage.buckets import Span
from saas.usage.series import Figures, Value
from saas.web import charts, csv_answer
from saas.web.accepted import preferred
from saas.web.routed import AnyRequest

JSON = "application/json"
FILES = (csv_answer.MEDIA_TYPE, charts.MEDIA_TYPE)
_LABELS = {"hour": "%m-%d %H:%M", "month": "%Y-%m"}


class Point(msgspec.Struct, frozen=True):
    """`at` is the beginning of a bucket, in the time zone that was asked for."""

    at: datetime
    value: Value


class Series(msgspec.Struct, frozen=True):
    """`group` is null without `group_by`."""

    group: str | None
    points: list[Point]


class Period(msgspec.Struct, frozen=True, rename={"from_": "from"}):
    from_: datetime
    to: datetime
    series: list[Series]


def wanted_form(request: AnyRequest, span: Span) -> str:
    """The media type of the answer: JSON, or one of FILES. Raises BadRequest for a chart with more
    buckets than can be seen."""
    form = preferred(request, (JSON, *FILES))
    if form == charts.MEDIA_TYPE and len(span) > charts.MOST_BUCKETS:
        raise bad_parameter(
            "bucket", f"A chart shows at most {charts.MOST_BUCKETS} buckets: choose longer ones."
        )
    return form


def starts(span: Span) -> list[datetime]:
    return [span.local(edge) for edge in span.edges[:-1]]


def points(times: Sequence[datetime], values: Sequence[Value]) -> list[Point]:
    return [Point(at, value) for at, value in zip(times, values, strict=True)]


def period(span: Span, figures: Figures) -> Period:
    times = starts(span)
    series = [Series(group, points(times, values)) for group, values in figures.items()]
    return Period(span.local(span.begin), span.local(span.end), series)


def labels(span: Span) -> list[str]:
    form = _LABELS.get(span.calendar.unit, "%Y-%m-%d")
    return [at.strftime(form) for at in starts(span)]
