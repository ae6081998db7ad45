"""The rows of one piece of a file, read, checked and written in the current transaction."""

import asyncio
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from saas.db.batch_items import OnConflict
from saas.db.bulk_results import ImportResult, SourceRow
from saas.db.bulk_target import BulkTarget, CheckedRow
from saas.db.bulk_write import write_rows
from saas.db.imports.csv_reader import CsvReader
from saas.db.imports.jsonl_reader import JsonLinesReader
from saas.db.imports.source import Position, Reader, ReadRow, SourceOptions
from saas.db.repository import perform

# Of one statement: more are hardly faster, and their arrays keep others on the event loop waiting
# while they are encoded.
_ROWS_OF_A_SET = 250
# Some hundred microseconds: how long those others wait at most.
_ROWS_AT_ONCE = 25


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
    while (some := await _checked(target, rows)).read:
        done = some.refused
        done.add(await perform(write_rows(target, some.fit, on_conflict)))
        done.errors.sort(key=lambda error: error.line)
        if done.errors:
            sources |= {row.line: row for row in some.read}
        result.add(done)
    return WrittenPiece(result, sources)


class _Checked(NamedTuple):
    """The rows of one set: as they were read, those that may be written, and why not the others."""

    read: list[ReadRow]
    fit: list[CheckedRow]
    refused: ImportResult


async def _checked(target: BulkTarget, rows: Iterator[ReadRow]) -> _Checked:
    some = _Checked([], [], ImportResult())
    while len(some.read) < _ROWS_OF_A_SET:
        turn = list(islice(rows, _ROWS_AT_ONCE))
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
