"""The figures that can be counted anew: where each kind stands, and what it must come to. The SQL
that compares them, and sets them right, is made of this (`comparison.py`)."""

# Its SQL is made of literals of this package alone.
# ruff: noqa: S608

from typing import NamedTuple

from saas.limits import MOST
from saas.usage.folding import ACTOR, IN_QUARTER


class FigureKind(NamedTuple):
    """One kind of figure of the tenant $1. `counted` and `true` select `keys` and `measures`, and
    several rows with the same keys add up; `others` are columns of the table that have no truth to
    be compared with, with their value in a new row."""

    name: str
    table: str
    keys: tuple[str, ...]
    measures: tuple[str, ...]
    counted: str
    true: str
    others: tuple[tuple[str, str], ...] = ()


# What is dropped because it is old is none that could be compared. One day on the safe side: the
# day may end between the dropping and the comparing.
_KEPT = "{0} >= (SELECT since FROM kept)"
_KEPT_DAY = "day >= (SELECT since_day FROM kept)"
_DONE = "created, updated, deleted"

FIGURE_KINDS = (
    FigureKind(
        "totals",
        "usage_totals",
        ("entity",),
        ("live", "active", "removed", "bytes"),
        counted="""SELECT entity, live, active, removed, bytes FROM usage_totals WHERE tenant = $1
      UNION ALL
      SELECT entity, live, active, removed, bytes FROM usage_changes WHERE tenant = $1""",
        true="SELECT entity, live, active, removed, bytes FROM public.usage_of_rows()",
        others=(("changed_at", "NULL::timestamptz"),),
    ),
    FigureKind(
        "activity",
        "usage_activity",
        ("at", "entity", "actor"),
        ("created", "updated", "deleted"),
        counted=f"""SELECT at, entity, {ACTOR}, {_DONE} FROM usage_activity
      WHERE tenant = $1 AND {_KEPT.format("at")}
      UNION ALL
      SELECT {IN_QUARTER}, entity, {ACTOR}, {_DONE} FROM usage_changes
      WHERE tenant = $1 AND created + updated + deleted > 0 AND {_KEPT.format(IN_QUARTER)}""",
        true=f"""SELECT at, entity, {ACTOR}, {_DONE} FROM public.usage_of_log()
      WHERE {_KEPT.format("at")}""",
        others=(("live", "0"), ("bytes", "0")),
    ),
    FigureKind(
        "meters",
        "usage_meters",
        ("at", "meter", "kind"),
        ("events", "quantity"),
        # No row holds more than MOST, and none will when all is folded (`folding.py`).
        counted=f"""SELECT at, meter, kind, sum(events), least(sum(quantity), {MOST})
      FROM (
        SELECT at, meter, kind, events, quantity FROM usage_meters
        WHERE tenant = $1 AND {_KEPT.format("at")}
        UNION ALL
        SELECT {IN_QUARTER}, meter, kind, events, quantity FROM usage_meter_changes
        WHERE tenant = $1 AND {_KEPT.format(IN_QUARTER)}
      ) AS c (at, meter, kind, events, quantity)
      GROUP BY at, meter, kind""",
        true=f"""SELECT at, meter, kind, events, least(quantity, {MOST})
      FROM public.usage_of_events()
      WHERE {_KEPT.format("at")}""",
    ),
    FigureKind(
        "days",
        "usage_days",
        ("day",),
        ("requests", "errors", "bytes_in", "bytes_out"),
        counted=f"""SELECT day, requests, errors, bytes_in, bytes_out FROM usage_days
      WHERE tenant = $1 AND {_KEPT_DAY}""",
        true=f"""SELECT (at AT TIME ZONE 'UTC')::date, requests,
        CASE WHEN status >= 4 THEN requests ELSE 0 END, bytes_in, bytes_out
      FROM usage_requests WHERE tenant = $1 AND {_KEPT.format("at")}""",
    ),
)
"""The log, the rows and the events are never trimmed; requests are compared as far as their rows
are kept."""
