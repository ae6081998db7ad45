"""Whether what many rows refer to is there."""

from collections.abc import Mapping
from typing import Any

from saas.db.error_mapping import unknown_reference
from saas.db.operation import Operation
from saas.db.row_operations import RowOperations, live_ids
from saas.errors import Invalid


def dangling(
    rows: RowOperations[Any, Any], values: Mapping[int, Mapping[str, Any]]
) -> Operation[dict[int, Invalid]]:
    """The refusals of those that refer to an absent or deleted row."""
    lost: dict[int, list[str]] = {}
    for column, parent in rows.references.items():
        wanted = {index: row.get(column) for index, row in values.items()}
        ids = {id for id in wanted.values() if id is not None}
        if not ids:
            continue
        found = yield from live_ids(parent, list(ids))
        for index, id in wanted.items():
            if id is not None and id not in found:
                lost.setdefault(index, []).append(column)
    return {index: unknown_reference(*columns) for index, columns in lost.items()}
