"""Many deleted rows brought back by one statement, by id. The batch has locked them
(`batch_locks.py`), so what is read of them holds."""

from collections.abc import Mapping
from itertools import islice
from typing import Any, TypeAlias
from uuid import UUID

from saas import context
from saas.db import batch_statements as sql
from saas.db.batch_items import BatchItem, Change, Outcome
from saas.db.batch_references import dangling
from saas.db.operation import Operation
from saas.db.quotas import charge, refusal, room_of_rows
from saas.db.row_operations import RowOperations
from saas.errors import NotDeleted, NotFound, ParentGone, SaasError, VersionConflict

Rows: TypeAlias = RowOperations[Any, Any]
Items: TypeAlias = Mapping[int, BatchItem]
Row: TypeAlias = Mapping[str, Any]


def restore(rows: Rows, items: Items) -> Operation[dict[int, Outcome]]:
    """Restore the rows of `items`; an outcome for each, or for none of a table that refers to
    itself. Those for which there is no room in the tenant's quota are refused, in their order.
    Raises AlreadyExists where the natural key of one is taken."""
    if rows.table.name in rows.references.values():
        # Of a tree the order decides: a child can only follow its parent.
        return {}
    columns = ("id", "version", "deleted_at", *rows.references)
    found = yield from rows.run(
        ("states",),
        lambda: sql.select_many(rows.table, columns),
        {"c_id": [item.id for item in items.values()]},
    )
    states: dict[UUID, Row] = {row[0]: dict(zip(columns, row, strict=True)) for row in found}
    done: dict[int, Outcome] = {}
    fit: dict[int, Row] = {}
    for index, item in items.items():
        state = states.get(item.id) if item.id is not None else None
        if state is None:
            done[index] = NotFound()
        elif (reason := _refusal(item, state)) is not None:
            done[index] = reason
        else:
            fit[index] = state
    for index, lost in (yield from dangling(rows, fit)).items():
        done[index] = ParentGone(errors=lost.errors)
    ids = {index: row["id"] for index, row in fit.items() if index not in done}
    return done | (yield from _restore(rows, ids))


def _refusal(item: BatchItem, state: Row) -> SaasError | None:
    if item.version is not None and item.version != state["version"]:
        return VersionConflict(state["version"])
    return NotDeleted() if state["deleted_at"] is None else None


def _restore(rows: Rows, ids: Mapping[int, UUID]) -> Operation[dict[int, Outcome]]:
    if not ids:
        return {}
    # Their bytes are counted already.
    room = yield from room_of_rows(rows.table, len(ids))
    now = dict(islice(ids.items(), room.rows))
    told = yield from rows.run(
        ("restore set",),
        lambda: sql.restore_rows(rows.table),
        {"c_id": list(now.values()), "actor": context.principal().actor},
    )
    changed = sql.changed_by(told, now)
    if len(now) < len(ids):
        yield from charge(rows.table, len(changed))
    done: dict[int, Outcome] = {i: Change("restored", id) for i, id in changed.items()}
    return done | {index: refusal(rows.table, room) for index in ids if index not in now}
