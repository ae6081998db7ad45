"""The rows that a batch changes, locked before its first change and in one order for all batches,
so that no two of them wait for each other (docs/decisions/0008)."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeAlias

from saas import context
from saas.db import batch_statements as sql
from saas.db.advisory_locks import TAKE_LOCK, lock_number
from saas.db.batch_items import BatchItem, OnConflict
from saas.db.operation import Operation, Step
from saas.db.row_operations import RowOperations

Rows: TypeAlias = RowOperations[Any, Any]


def take_turn(rows: Rows, runs: Sequence[Mapping[int, BatchItem]]) -> Operation[None]:
    """Wait for the tenant's other batches on the table that make new rows by several statements:
    each is sorted by the natural key, but together they are in their callers' order, and a row that
    is not there yet cannot be locked."""
    making = [run for run in runs if next(iter(run.values())).kind in {"create", "upsert"}]
    if rows.natural_key and len(making) > 1:
        tenant_id = context.principal().tenant_id
        number = lock_number(b"batch", tenant_id.bytes, rows.table.name.encode())
        yield Step(TAKE_LOCK, {"number": number})


def lock_rows(rows: Rows, items: Collection[BatchItem], on_conflict: OnConflict) -> Operation[None]:
    """Lock those that `items` name by id, and those that an upsert will find by their natural key,
    in the order of their ids. Of one row there is no order."""
    key = rows.natural_key
    upserted = [item.values for item in items if item.kind == "upsert" and _has(item.values, key)]
    ids = [item.id for item in items if item.id is not None]
    by_key = bool(key and upserted and on_conflict == "update")
    if len(items) < 2 or not (ids or by_key):
        return
    yield from rows.run(
        ("lock", by_key),
        lambda: sql.lock_rows(rows.table, key if by_key else ()),
        {"c_id": ids, **(sql.arrays_of(key, upserted) if by_key else {})},
    )


def _has(values: Mapping[str, Any], key: tuple[str, ...]) -> bool:
    return all(values.get(name) is not None for name in key)
