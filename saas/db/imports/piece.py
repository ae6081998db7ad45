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

# Of one statement: more are hardly faster, and their arrays keep others on the event loop waiting
# while they are encoded.
_ROWS_OF_A_SET = 250
# Some hundred microseconds: how long those others wait at most.
_ROWS_AT_ONCE = 25
# How long an import rests beside other tenants' requests for each second that it works: both take
# the processors, and a commit of theirs waits until the import's log before it is on the disk.
_REST = 1.0
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
    begin = loop.time()
    while (some := await _checked(target, rows)).read:
        done = some.refused
        done.add(await perform(write_rows(target, some.fit, on_conflict)))
        done.errors.sort(key=lambda error: error.line)
        if done.errors:
            sources |= {row.line: row for row in some.read}
        result.add(done)
        await _rest(loop.time() - begin)
        begin = loop.time()
    return WrittenPiece(result, sources)


async def _rest(worked_seconds: float) -> None:
    """Give way to the other tenants, if any is at work."""
    if not current_transaction().pool.is_alone(context.principal().tenant_id):
        await asyncio.sleep(min(_REST * worked_seconds, _LONGEST_REST_SECONDS))


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
