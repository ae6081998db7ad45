"""Many rows changed or soft-deleted by one statement, by id."""

from collections.abc import Mapping
from typing import Any, TypeAlias
from uuid import UUID

from saas import context
from saas.db import batch_statements as sql
from saas.db.batch_items import BatchItem, Change, Outcome
from saas.db.operation import Operation
from saas.db.operation import Rows as Found
from saas.db.row_operations import RowOperations
from saas.errors import NotFound, VersionConflict

Rows: TypeAlias = RowOperations[Any, Any]
Items: TypeAlias = Mapping[int, BatchItem]


def edit(rows: Rows, items: Items) -> Operation[dict[int, Outcome]]:
    """Update or soft-delete the rows of `items`; an outcome for each."""
    first = next(iter(items.values()))
    found = yield from _changed(rows, items, first)
    changed = {row[0] for row in found}
    left = {index: item for index, item in items.items() if item.id not in changed}
    done: dict[int, Outcome] = {
        index: Change("deleted" if first.kind == "delete" else "updated", item.id)
        for index, item in items.items()
        if item.id in changed
    }
    return done | (yield from _unchanged(rows, left)) if left else done


def _changed(rows: Rows, items: Items, first: BatchItem) -> Operation[Found]:
    columns = tuple(first.values)
    versioned = first.version is not None
    values: dict[str, Any] = {
        **sql.arrays_of(columns, [item.values for item in items.values()]),
        "c_id": [item.id for item in items.values()],
        "c_version": [item.version for item in items.values()],
        "actor": context.principal().actor,
    }
    if first.kind == "delete":
        return (
            yield from rows.run(
                ("soft delete", versioned),
                lambda: sql.soft_delete_rows(rows.table, versioned=versioned),
                values,
            )
        )
    if not columns:
        return ()
    return (
        yield from rows.run(
            ("update set", columns, versioned),
            lambda: sql.update_rows(rows.table, columns, versioned=versioned),
            values,
        )
    )


def _unchanged(rows: Rows, items: Items) -> Operation[dict[int, Outcome]]:
    """Why nothing changed: no such row, another version, or the same values already."""
    found = yield from rows.run(
        ("versions",),
        lambda: sql.select_versions(rows.table),
        {"c_id": [item.id for item in items.values()]},
    )
    versions = {row[0]: row[1] for row in found}
    return {index: _why(item, versions) for index, item in items.items()}


def _why(item: BatchItem, versions: Mapping[UUID, int]) -> Outcome:
    if item.id is None or item.id not in versions:
        return NotFound()
    present = versions[item.id]
    if item.version is not None and item.version != present:
        return VersionConflict(present)
    return Change("skipped", item.id)
