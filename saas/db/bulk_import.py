"""Imports from Python: rows of any source into one resource. What becomes of each is decided in
`bulk_write.py`; imports over HTTP go through there too. `sync/bulk_import.py` is the twin."""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from saas.db.batch_items import OnConflict
from saas.db.bulk_chunks import CHUNK_ROWS, import_checked
from saas.db.bulk_results import ImportResult, SourceRow
from saas.db.bulk_target import AnyRepository, BulkTarget, Importable, bulk_target
from saas.db.database import Database
from saas.db.repository import perform
from saas.db.transaction import transaction

Row: TypeAlias = Mapping[str, Any] | msgspec.Struct
Target: TypeAlias = Importable | AnyRepository | BulkTarget


async def import_rows(
    target: Target,
    rows: Iterable[Row] | AsyncIterable[Row],
    *,
    on_conflict: OnConflict = "error",
    database: Database | None = None,
    on_progress: Callable[[ImportResult], object] | None = None,
) -> ImportResult:
    """Write `rows` into the bound tenant: inserted, updated, skipped or failed, each bad one with
    its line (its number, from 1), column and reason. A row that is refused costs no other.

    `on_conflict` is what happens to a live row with the same natural key. Without `database` all of
    it is part of the current transaction; with it every 5,000 rows are a transaction of their own.
    `on_progress` is told the result so far after each 5,000 rows. Rows are checked like the body of
    a create; `bulk_target(…, is_lax=True)` takes "12" for an integer too.

    Raises Unbound, Invalid for an `on_conflict` that the resource cannot have, and what is not
    about a row: a quota, a lost connection. Chunks before that stay where `database` was given."""
    into = bulk_target(target)
    result = ImportResult()
    async for chunk in _chunks(rows):
        if database is None:
            done = await import_chunk(into, chunk, on_conflict=on_conflict)
        else:
            async with transaction(database):
                done = await import_chunk(into, chunk, on_conflict=on_conflict)
        result.add(done)
        if on_progress is not None:
            on_progress(result)
    return result


async def import_chunk(
    target: Target, rows: Sequence[SourceRow], *, on_conflict: OnConflict = "error"
) -> ImportResult:
    """The same for some thousand rows, with lines of the caller's own, in the current transaction:
    for who keeps a checkpoint of its own in it."""
    return await perform(import_checked(bulk_target(target), rows, on_conflict))


async def _chunks(rows: Iterable[Row] | AsyncIterable[Row]) -> AsyncIterator[list[SourceRow]]:
    chunk: list[SourceRow] = []
    line = 0
    async for row in _each(rows):
        line += 1
        chunk.append(SourceRow(line, row))
        if len(chunk) == CHUNK_ROWS:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


async def _each(rows: Iterable[Row] | AsyncIterable[Row]) -> AsyncIterator[Row]:
    if isinstance(rows, AsyncIterable):
        async for row in rows:
            yield row
    else:
        for row in rows:
            yield row
