"""Hours, days, weeks and months of a time zone, as instants. A bucket ends where the next begins,
so a day of a clock change has 23 or 25 hours, and an hour that comes twice is two buckets."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Literal, get_args

import msgspec

Unit = Literal["hour", "day", "week", "month"]
UNITS: tuple[Unit, ...] = get_args(Unit)

_MINUTE = timedelta(minutes=1)


class Calendar(msgspec.Struct, frozen=True):
    """The buckets of one unit in one time zone. Instants are given and taken in UTC. Of the
    years before 2000 some days and hours may begin some minutes off."""

    unit: Unit
    zone: tzinfo

    def start(self, at: datetime) -> datetime:
        """Where the bucket begins that `at` is in."""
        if self.unit == "hour":
            return _start_of_hour(at, self.zone)
        return _start_of_day(self._first_day(at.astimezone(self.zone).date()), self.zone)

    def after(self, start: datetime) -> datetime:
        """Where the bucket ends that begins at `start`."""
        if self.unit == "hour":
            return _end_of_hour(start, self.zone)
        first = self._first_day(start.astimezone(self.zone).date())
        return _start_of_day(self._following(first), self.zone)

    def back(self, start: datetime, count: int) -> datetime:
        """Where the bucket begins that is `count` before the one which begins at `start`."""
        for _ in range(count):
            start = self.start(start - _MINUTE)
        return start

    def end(self, at: datetime) -> datetime:
        """The first end of a bucket that is not before `at`."""
        start = self.start(at)
        return start if start == at else self.after(start)

    def edges(self, start: datetime, end: datetime) -> Iterator[datetime]:
        """From `start`, where a bucket begins, each beginning until one is not before `end`."""
        yield start
        while start < end:
            start = self.after(start)
            yield start

    def _first_day(self, day: date) -> date:
        if self.unit == "week":
            return day - timedelta(days=day.weekday())
        return day.replace(day=1) if self.unit == "month" else day

    def _following(self, first: date) -> date:
        if self.unit == "month":
            return (first.replace(day=28) + timedelta(days=4)).replace(day=1)
        return first + timedelta(days=7 if self.unit == "week" else 1)


class Span(msgspec.Struct, frozen=True):
    """Buckets in a row: one begins at each of `edges` but the last, which ends them."""

    calendar: Calendar
    edges: tuple[datetime, ...]

    @property
    def begin(self) -> datetime:
        return self.edges[0]

    @property
    def end(self) -> datetime:
        return self.edges[-1]

    def __len__(self) -> int:
        return len(self.edges) - 1

    def local(self, at: datetime) -> datetime:
        return at.astimezone(self.calendar.zone)

    def previous(self) -> "Span":
        """As many buckets, up to where these begin."""
        begin = self.calendar.back(self.begin, len(self))
        return Span(self.calendar, tuple(self.calendar.edges(begin, self.begin)))

    def after(self, other: "Span") -> "Span":
        """Both as one; `other` ends where this begins."""
        return Span(self.calendar, (*other.edges, *self.edges[1:]))

    def is_of_days(self) -> bool:
        """Whether each bucket is made of whole days in UTC."""
        return all(edge.time() == time.min for edge in self.edges)


def _start_of_day(day: date, zone: tzinfo) -> datetime:
    # Of a midnight that comes twice, the first. One that the clocks skip, in Samoa once with its
    # whole day, is by the offset before the very moment at which they go on: since 2000 none has
    # been set forward from before midnight to after it.
    return datetime.combine(day, time.min, tzinfo=zone).astimezone(UTC)


def _start_of_hour(at: datetime, zone: tzinfo) -> datetime:
    local = at.astimezone(zone)
    past = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
    start = at - past
    # Clocks that change within an hour, as on Lord Howe, begin a bucket there.
    while start.astimezone(zone).utcoffset() != local.utcoffset():
        start += _MINUTE
    return start


def _end_of_hour(start: datetime, zone: tzinfo) -> datetime:
    local = start.astimezone(zone)
    end = start + timedelta(minutes=60 - local.minute)
    if end.astimezone(zone).utcoffset() == local.utcoffset():
        return end
    while start.astimezone(zone).utcoffset() == local.utcoffset():
        start += _MINUTE
    return start
