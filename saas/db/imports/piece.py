"""The rows of one piece of a file, read, checked and written in the current transaction."""

import asyncio
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from saas import context
from saas.db.batch_items import OnConflict
from saas.db.bulk_results import ImportResult, SourceRow
from saas.db.bulk_target import BulkTarget, CheckedRow
from saas.db.bulk_write import write_rows
from saas.db.imports.csv_reader import CsvReader
from saas.db.imports.jsonl_reader import JsonLinesReader
from saas.db.imports.source import Position, Reader, ReadRow, SourceOptions
from saas.db.repository import perform
from saas.db.transaction import current_transaction


class _Pace(NamedTuple):
    """How many rows go into one statement, how many are checked before others on the event loop
    have their turn, and how long the import then rests for each second that it has worked."""

    rows_of_a_set: int
    rows_at_once: int
    rest: float


# More rows of a set are hardly faster, and their arrays hold up the event loop while they are
# encoded; 25 rows take some hundred microseconds.
_ALONE = _Pace(250, 25, 0)
# Both take the processors, and a commit of the others' waits until what the import has written to
# the log is on the disk (docs/decisions/0015).
_BESIDE_OTHERS = _Pace(100, 10, 3)
_LONGEST_REST_SECONDS = 0.1


class WrittenPiece(NamedTuple):
    """`sources` has each row that was refused by its line, and others."""

    result: ImportResult
    sources: dict[int, ReadRow]


def reader_for(target: BulkTarget, options: SourceOptions, position: Position) -> Reader:
    """What reads the file from `position` on."""
    kind: type[CsvReader | JsonLinesReader] = (
        CsvReader if options.format == "csv" else JsonLinesReader
    )
    return kind(target, options, position)


async def write_piece(
    target: BulkTarget, rows: Iterator[ReadRow], *, on_conflict: OnConflict
) -> WrittenPiece:
    """Write `rows`, letting others have their turn in between. Raises what `write_rows` does."""
    result = ImportResult()
    sources: dict[int, ReadRow] = {}
    loop = asyncio.get_running_loop()
    while True:
        pace, begin = _pace(), loop.time()
        some = await _checked(target, rows, pace)
        if not some.read:
            return WrittenPiece(result, sources)
        done = some.refused
        done.add(await perform(write_rows(target, some.fit, on_conflict)))
        done.errors.sort(key=lambda error: error.line)
        if done.errors:
            sources |= {row.line: row for row in some.read}
        result.add(done)
        if pace.rest:
            await asyncio.sleep(min(pace.rest * (loop.time() - begin), _LONGEST_REST_SECONDS))


def _pace() -> _Pace:
    is_alone = current_transaction().pool.is_alone(context.principal().tenant_id)
    return _ALONE if is_alone else _BESIDE_OTHERS


class _Checked(NamedTuple):
    """The rows of one set: as they were read, those that may be written, and why not the others."""

    read: list[ReadRow]
    fit: list[CheckedRow]
    refused: ImportResult


async def _checked(target: BulkTarget, rows: Iterator[ReadRow], pace: _Pace) -> _Checked:
    some = _Checked([], [], ImportResult())
    while len(some.read) < pace.rows_of_a_set:
        turn = list(islice(rows, pace.rows_at_once))
        if not turn:
            break
        for row in turn:
            outcome = target.check(SourceRow(row.line, row.values))
            if isinstance(outcome, CheckedRow):
                some.fit.append(outcome)
            else:
                some.refused.fail(outcome)
        some.read.extend(turn)
        await asyncio.sleep(0)
    return some
