"""A set of a batch: items of one shape, changed by one statement. An outcome that is left out means
that the item is to be changed alone, which does it or finds out why not."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from saas.db.batch_edits import edit
from saas.db.batch_inserts import create, upsert
from saas.db.batch_items import BatchItem, Change, OnConflict, Outcome
from saas.db.batch_references import dangling
from saas.db.batch_restores import restore
from saas.db.operation import Operation
from saas.db.row_operations import RowOperations
from saas.errors import SaasError

Rows: TypeAlias = RowOperations[Any, Any]
Items: TypeAlias = Mapping[int, BatchItem]


def creates(items: Items, on_conflict: OnConflict) -> bool:
    """Whether `items` can only become new rows."""
    kind = next(iter(items.values())).kind
    return kind == "create" or (kind == "upsert" and on_conflict == "error")


def change(
    rows: Rows, items: Items, on_conflict: OnConflict, *, expects_conflicts: bool = True
) -> Operation[dict[int, Outcome]]:
    """Change `items` and tell what became of each. Raises what the database refuses of the set. A
    new row whose natural key is taken is left out where it `expects_conflicts`, and refused as
    well where not."""
    first = next(iter(items.values()))
    if first.kind == "restore":
        return (yield from restore(rows, items))
    rows.refuse_unwritable(*(item.values for item in items.values()))
    values = {index: item.values for index, item in items.items()}
    refused: dict[int, Outcome] = {**(yield from dangling(rows, values))}
    fit = {i: item for i, item in items.items() if i not in refused} if refused else items
    if not fit:
        return refused
    if first.kind in {"update", "delete"}:
        return refused | (yield from edit(rows, fit))
    if creates(fit, on_conflict):
        return refused | (yield from create(rows, fit, expects_conflicts=expects_conflicts))
    return refused | (yield from upsert(rows, fit, skips=on_conflict == "skip"))


def change_one(rows: Rows, item: BatchItem, on_conflict: OnConflict) -> Operation[Change]:
    """Change one row. Raises why it cannot be changed."""
    if item.kind == "restore" and item.id is not None:
        row = yield from rows.restore(item.id, version=item.version)
        return Change("restored", row.id)
    outcomes = {} if item.kind == "create" else (yield from change(rows, {0: item}, on_conflict))
    outcome = outcomes.get(0)
    if isinstance(outcome, SaasError):
        raise outcome
    if outcome is None:
        row = yield from rows.create(item.values)
        outcome = Change("created", row.id)
    return outcome
