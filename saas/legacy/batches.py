"""The rows of a source table in batches, each read in a thread while the one before is written."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import NamedTuple

from saas.db.bulk_results import RowError, shown
from saas.db.bulk_results import SourceRow as ImportRow
from saas.db.error_mapping import unknown_reference
from saas.legacy.bad_rows import BadRow
from saas.legacy.lookups import Lookup
from saas.legacy.plan import TablePlan
from saas.legacy.source import Key


class Batch(NamedTuple):
    """`rows` are for an import; the line of each is its place among the `keys`, from 1."""

    keys: list[Key]
    rows: list[ImportRow]

    def bad_row(self, plan: TablePlan, error: RowError) -> BadRow:
        key = ", ".join(str(part) for part in self.keys[error.line - 1])
        return BadRow(plan.map.source, key, error.column, error.value, error.code, error.reason)


async def batches(plan: TablePlan, after: Key | None, size: int) -> AsyncGenerator[Batch, None]:
    """What stands behind the key `after`. Raises ConfigurationError where it cannot be read."""
    reading = _start(plan, after, size)
    try:
        while (batch := await reading).keys:
            reading = _start(plan, batch.keys[-1], size)
            yield batch
    finally:
        reading.cancel()


async def with_references(plan: TablePlan, rows: list[ImportRow]) -> list[ImportRow]:
    """`rows` with ids in the place of natural keys, looked up in the current transaction."""
    for column, lookup in plan.lookups.items():
        rows = await _looked_up(rows, column, lookup)
    return rows


def _start(plan: TablePlan, after: Key | None, size: int) -> "asyncio.Task[Batch]":
    return asyncio.create_task(asyncio.to_thread(_read, plan, after, size))


def _read(plan: TablePlan, after: Key | None, size: int) -> Batch:
    found = plan.source.batch(after, size)
    rows = [plan.row(number, row) for number, row in enumerate(found, start=1)]
    return Batch([row.key for row in found], rows)


async def _looked_up(rows: list[ImportRow], column: str, lookup: Lookup) -> list[ImportRow]:
    values = [dict(row.values) if isinstance(row.values, Mapping) else {} for row in rows]
    keys = [found.get(column) for found in values]
    ids = await lookup.ids(key for key in keys if key is not None)
    (fault,) = unknown_reference(column).errors
    resolved = []
    for row, found, key in zip(rows, values, keys, strict=True):
        if key is None:
            resolved.append(row)
        elif key in ids:
            resolved.append(row._replace(values={**found, column: ids[key]}))
        else:
            error = RowError(row.line, column, shown(key), fault.code, fault.message)
            resolved.append(row._replace(values=error))
    return resolved
