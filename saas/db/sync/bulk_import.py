"""Imports from Python for threads: the twin of `saas/db/bulk_import.py`."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeAlias

import msgspec

from saas.db.batch_items import OnConflict
from saas.db.bulk_chunks import CHUNK_ROWS, import_checked
from saas.db.bulk_results import ImportResult, SourceRow
from saas.db.bulk_target import AnyRepository, BulkTarget, Importable, bulk_target
from saas.db.sync.database import Database
from saas.db.sync.repository import perform
from saas.db.sync.transaction import transaction

Row: TypeAlias = Mapping[str, Any] | msgspec.Struct
Target: TypeAlias = Importable | AnyRepository | BulkTarget


def import_rows(
    target: Target,
    rows: Iterable[Row],
    *,
    on_conflict: OnConflict = "error",
    database: Database | None = None,
    on_progress: Callable[[ImportResult], object] | None = None,
) -> ImportResult:
    """As the async one, of an ordinary iterable."""
    into = bulk_target(target)
    result = ImportResult()
    for chunk in _chunks(rows):
        if database is None:
            done = import_chunk(into, chunk, on_conflict=on_conflict)
        else:
            with transaction(database):
                done = import_chunk(into, chunk, on_conflict=on_conflict)
        result.add(done)
        if on_progress is not None:
            on_progress(result)
    return result


def import_chunk(
    target: Target, rows: Sequence[SourceRow], *, on_conflict: OnConflict = "error"
) -> ImportResult:
    """As the async one."""
    return perform(import_checked(bulk_target(target), rows, on_conflict))


def _chunks(rows: Iterable[Row]) -> Iterator[list[SourceRow]]:
    numbered = (SourceRow(line, row) for line, row in enumerate(rows, start=1))
    while chunk := list(islice(numbered, CHUNK_ROWS)):
        yield chunk
