"""One chunk of an import as an Operation: its rows checked, then written."""

from collections.abc import Sequence

from saas.db.batch_items import OnConflict
from saas.db.bulk_results import ImportResult, SourceRow
from saas.db.bulk_target import BulkTarget, CheckedRow
from saas.db.bulk_write import write_rows
from saas.db.operation import Operation

CHUNK_ROWS = 5_000
"""Rows of one transaction, where `import_rows` makes them."""


def import_checked(
    target: BulkTarget, rows: Sequence[SourceRow], on_conflict: OnConflict
) -> Operation[ImportResult]:
    """What became of each of `rows`. Raises what `write_rows` does."""
    result = ImportResult()
    checked = []
    for row in rows:
        outcome = target.check(row)
        if isinstance(outcome, CheckedRow):
            checked.append(outcome)
        else:
            result.fail(outcome)
    result.add((yield from write_rows(target, checked, on_conflict)))
    result.errors.sort(key=lambda error: error.line)
    return result
