"""Buckets of a time zone against a model that looks at a clock every quarter of an hour."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from saas.usage.buckets import UNITS, Calendar, Span

QUARTER = timedelta(minutes=15)
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    # Their clocks skip midnight, or come back to it.
    "Asia/Beirut",
    "America/Santiago",
    "America/Havana",
)
DAYS = {"hour": 4, "day": 30, "week": 60, "month": 90}
FIRST = datetime(2024, 1, 1, tzinfo=UTC)


def bucket_on_the_clock(unit, at, zone):
    """Two instants with the same are in the same bucket."""
    local = at.astimezone(zone)
    if unit == "hour":
        return local.date(), local.hour, local.utcoffset()
    return {
        "day": local.date(),
        "week": local.isocalendar()[:2],
        "month": (local.year, local.month),
    }[unit]


def edges_on_the_clock(unit, zone, begin, end):
    quarters = [begin + number * QUARTER for number in range((end - begin) // QUARTER + 1)]
    return [
        at
        for before, at in pairwise(quarters)
        if bucket_on_the_clock(unit, before, zone) != bucket_on_the_clock(unit, at, zone)
    ]


quarters_of_two_years = st.integers(0, 2 * 366 * 96).map(lambda number: FIRST + number * QUARTER)


@pytest.mark.parametrize("unit", UNITS)
@settings(max_examples=40, deadline=None)
@given(zone=st.sampled_from(ZONES), begin=quarters_of_two_years)
@example(zone="Australia/Lord_Howe", begin=datetime(2024, 4, 5, tzinfo=UTC))
@example(zone="Australia/Lord_Howe", begin=datetime(2024, 10, 4, tzinfo=UTC))
@example(zone="Europe/Berlin", begin=datetime(2024, 3, 30, tzinfo=UTC))
@example(zone="Europe/Berlin", begin=datetime(2024, 10, 26, tzinfo=UTC))
@example(zone="America/New_York", begin=datetime(2024, 11, 2, tzinfo=UTC))
@example(zone="Asia/Beirut", begin=datetime(2024, 3, 29, tzinfo=UTC))
@example(zone="America/Santiago", begin=datetime(2024, 4, 5, tzinfo=UTC))
@example(zone="America/Havana", begin=datetime(2024, 11, 2, tzinfo=UTC))
def test_buckets_are_those_that_a_clock_shows(unit, zone, begin):
    calendar = Calendar(unit, ZoneInfo(zone))
    end = begin + timedelta(days=DAYS[unit])

    expected = edges_on_the_clock(unit, calendar.zone, begin - QUARTER, end)
    found = list(calendar.edges(calendar.start(begin), end))

    assert [edge for edge in found if begin <= edge <= end] == expected
    assert (found[0] <= begin, found[-1] >= end) == (True, True)
    for first, second in pairwise(found):
        assert calendar.start(first) == calendar.start(second - QUARTER) == first
        assert (calendar.end(first), calendar.end(first + QUARTER / 3)) == (first, second)
        assert calendar.back(second, 1) == first


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", "2026-03-29", 23),
        ("Europe/Berlin", "2026-10-25", 25),
        ("America/New_York", "2026-03-08", 23),
        ("America/New_York", "2026-11-01", 25),
        ("Australia/Lord_Howe", "2026-04-05", 24.5),
        ("Australia/Lord_Howe", "2026-10-04", 23.5),
        ("Asia/Kolkata", "2026-03-29", 24),
    ],
)
def test_day_of_a_clock_change_has_its_own_length(zone, day, hours):
    calendar = Calendar("day", ZoneInfo(zone))
    begin = datetime.fromisoformat(day).replace(tzinfo=calendar.zone).astimezone(UTC)

    first, second = list(calendar.edges(begin, begin + timedelta(hours=12)))

    assert (first, (second - first) / timedelta(hours=1)) == (begin, hours)


@pytest.mark.parametrize(
    ("zone", "begin", "starts"),
    [
        (
            "Europe/Berlin",
            "2026-10-24T23:00Z",
            ["01:00+02:00", "02:00+02:00", "02:00+01:00", "03:00+01:00"],
        ),
        ("Europe/Berlin", "2026-03-29T00:00Z", ["01:00+01:00", "03:00+02:00", "04:00+02:00"]),
        # Half an hour comes twice, and half an hour is left out.
        ("Australia/Lord_Howe", "2026-04-04T14:00Z", ["01:00+11:00", "01:30+10:30", "02:00+10:30"]),
        ("Australia/Lord_Howe", "2026-10-03T14:30Z", ["01:00+10:30", "02:30+11:00", "03:00+11:00"]),
        ("Asia/Kathmandu", "2026-03-29T00:15Z", ["06:00+05:45", "07:00+05:45"]),
    ],
)
def test_hours_of_a_clock_change_are_told_apart(zone, begin, starts):
    calendar = Calendar("hour", ZoneInfo(zone))
    at = datetime.fromisoformat(begin)

    found = []
    for _ in starts:
        found.append(at.astimezone(calendar.zone).isoformat(timespec="minutes")[11:])
        at = calendar.after(at)

    assert found == starts


def test_day_that_a_zone_has_skipped_is_no_bucket():
    calendar = Calendar("day", ZoneInfo("Pacific/Apia"))
    begin = calendar.start(datetime(2011, 12, 29, 12, tzinfo=UTC))

    edges = list(calendar.edges(begin, begin + timedelta(days=3)))

    shown = [edge.astimezone(calendar.zone).date().isoformat() for edge in edges]
    assert shown == ["2011-12-29", "2011-12-31", "2012-01-01", "2012-01-02"]
    assert calendar.back(edges[-1], 3) == begin


def test_previous_span_has_as_many_buckets_and_ends_where_the_other_begins():
    calendar = Calendar("month", ZoneInfo("Europe/Berlin"))
    begin = calendar.start(datetime(2026, 3, 15, tzinfo=UTC))
    span = Span(calendar, tuple(calendar.edges(begin, begin + timedelta(days=70))))

    before = span.previous()

    assert (len(span), len(before), before.end) == (3, 3, span.begin)
    assert before.local(before.begin).isoformat() == "2025-12-01T00:00:00+01:00"
    assert len(span.after(before)) == 6
