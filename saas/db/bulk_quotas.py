"""Room in the tenant's quota for the new rows of an import (`quotas.py`)."""

from collections.abc import Sequence
from typing import Any, TypeAlias

from saas.db import batch_statements as sql
from saas.db.bulk_target import BulkTarget, CheckedRow
from saas.db.operation import Operation
from saas.db.quotas import has_quota, reserve

Set: TypeAlias = Sequence[CheckedRow]


def reserve_new(target: BulkTarget, rows: Set) -> Operation[None]:
    """Make room for those of `rows` that become new rows; the others need none. Raises
    QuotaExceeded. A tenant without a quota pays nothing for it."""
    if not has_quota():
        return
    new = yield from _count_new(target, rows)
    if new:
        yield from reserve(target.rows.table, new)


def _count_new(target: BulkTarget, rows: Set) -> Operation[int]:
    into, key = target.rows, target.rows.natural_key
    keys = [tuple(getattr(row.body, name) for name in key) for row in rows]
    # Null is like no other null, and without a natural key no row is like another.
    whole = {found for found in keys if found and None not in found}
    alone = sum(not found or None in found for found in keys)
    if not whole:
        return alone
    given = [dict(zip(key, found, strict=True)) for found in whole]
    values: dict[str, Any] = sql.arrays_of(key, given)
    live = yield from into.run(("by key",), lambda: sql.select_by_key(into.table, key), values)
    return alone + len(whole - {tuple(row[1:]) for row in live})
