"""Many rows changed or soft-deleted by one statement, by id."""

from collections.abc import Mapping
from typing import Any, TypeAlias
from uuid import UUID

from saas import context
from saas.db import batch_statements as sql
from saas.db.batch_items import BatchItem, Change, Outcome, Status
from saas.db.operation import Operation
from saas.db.row_operations import RowOperations
from saas.errors import NotFound, VersionConflict

Rows: TypeAlias = RowOperations[Any, Any]
Items: TypeAlias = Mapping[int, BatchItem]


def edit(rows: Rows, items: Items) -> Operation[dict[int, Outcome]]:
    """Update or soft-delete the rows of `items`; an outcome for each."""
    ids = {index: item.id for index, item in items.items() if item.id is not None}
    changed = yield from _changed(rows, items, ids)
    status: Status = "deleted" if next(iter(items.values())).kind == "delete" else "updated"
    done: dict[int, Outcome] = {index: Change(status, id) for index, id in changed.items()}
    if len(done) == len(items):
        return done
    left = {index: item for index, item in items.items() if index not in done}
    return done | (yield from _unchanged(rows, left))


def _changed(rows: Rows, items: Items, ids: Mapping[int, UUID]) -> Operation[Mapping[int, UUID]]:
    first = next(iter(items.values()))
    columns = tuple(first.values)
    versioned = first.version is not None
    values: dict[str, Any] = {
        **sql.arrays_of(columns, [item.values for item in items.values()]),
        "c_id": [item.id for item in items.values()],
        "actor": context.principal().actor,
    }
    if versioned:
        values["c_version"] = [item.version for item in items.values()]
    if first.kind == "delete":
        told = yield from rows.run(
            ("soft delete", versioned),
            lambda: sql.soft_delete_rows(rows.table, versioned=versioned),
            values,
        )
    elif columns:
        told = yield from rows.run(
            ("update set", columns, versioned),
            lambda: sql.update_rows(rows.table, columns, versioned=versioned),
            values,
        )
    else:
        return {}
    return sql.changed_by(told, ids)


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
