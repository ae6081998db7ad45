"""The lines of a table as rows whose values stay the text that they were: a number or a time goes
into the database exactly as it came out of one."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator

import msgspec

from saas.errors import FieldError, InvalidArchive, SaasError
from saas.portability.fitting import Fitted
from saas.portability.opened import OpenArchive

Row = dict[str, msgspec.Raw]
NULL = msgspec.Raw(b"null")

# What the drivers can read: an infinite time, and a year of four digits that is not before Christ.
_TIMES = frozenset({"DATE", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP WITHOUT TIME ZONE"})
_is_readable = re.compile(rb'null|"-?infinity"|"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:T[^ ]*)?"').fullmatch

_decoder = msgspec.json.Decoder(Row)
_encode = msgspec.json.Encoder().encode


class Batch(msgspec.Struct, frozen=True):
    """Some rows of one table, also as a JSON array, and where in the archive they stand."""

    rows: list[Row]
    json: str
    place: str

    def refused(self, refusal: SaasError) -> SaasError:
        """What PostgreSQL said of these rows, with the place; what a repetition may help (5xx) as
        it is."""
        if refusal.status >= 500:
            return refusal
        errors = [
            FieldError(f"/{self.place}{fault.pointer}", fault.code, fault.message)
            for fault in refusal.errors
        ]
        return InvalidArchive(f"{self.place}: {refusal.message}", errors=errors)


def batch_of(rows: list[Row], place: str) -> Batch:
    return Batch(rows, _encode(rows).decode(), place)


async def batches(
    archive: OpenArchive, fitted: Fitted, change: Callable[[str, Row], None] | None = None
) -> AsyncIterator[Batch]:
    """All rows of a table, some hundred at a time, each given to `change` with its table before.
    Raises InvalidArchive, naming the line, for what is no row of the columns that the manifest
    names, and at the end where the rows are not those of the manifest."""
    found = _batches(archive, fitted, change)
    # In a thread, because to unpack and read takes longer than others may be made to wait.
    while batch := await asyncio.to_thread(next, found, None):
        yield batch


def _batches(
    archive: OpenArchive, fitted: Fitted, change: Callable[[str, Row], None] | None
) -> Iterator[Batch]:
    entry = fitted.entry
    columns = set(entry.column_names)
    times = [column.name for column in entry.columns if column.type in _TIMES]
    before = 0
    for lines in archive.chunks(entry):
        rows = [
            _row(line, columns, f"{entry.file}, line {number}")
            for number, line in enumerate(lines, start=before + 1)
        ]
        for number, row in enumerate(rows, start=before + 1):
            _check_times(row, times, f"{entry.file}, line {number}")
        if change is not None:
            for row in rows:
                change(entry.name, row)
        yield batch_of(rows, f"{entry.file}, lines {before + 1} to {before + len(rows)}")
        before += len(rows)


def _row(line: bytes, columns: set[str], place: str) -> Row:
    try:
        # Only here is a line seen to be UTF-8.
        line.decode()
        row = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidArchive(f"{place}: it is no JSON object.") from None
    if row.keys() != columns:
        raise InvalidArchive(f"{place}: it does not have the columns of the manifest.")
    return row


def _check_times(row: Row, times: list[str], place: str) -> None:
    """What PostgreSQL would take, and no list could answer with."""
    for name in times:
        if _is_readable(bytes(row[name])) is None:
            raise InvalidArchive(f"{place}: {name} is no time of the years 1 to 9999.")
