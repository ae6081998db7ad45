"""The rows of an import, written by sets; only where a set is refused, it is halved until exactly
the bad rows are left.

The outcome is that of writing the rows one after another in their order, wherever chunks begin.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias
from uuid import UUID

from saas import context
from saas.db import bulk_statements as sql
from saas.db.batch_items import OnConflict
from saas.db.bulk_quotas import reserve_new
from saas.db.bulk_results import ImportResult
from saas.db.bulk_target import BulkTarget, CheckedRow
from saas.db.error_mapping import unknown_reference
from saas.db.operation import Operation
from saas.db.row_operations import live_ids
from saas.db.savepoint import attempt
from saas.errors import FieldError, Invalid, SaasError

# More rows in a statement are hardly faster.
_SET_ROWS = 500
# A refusal with another status is not about a row: a quota, a plan, a database that is away.
_ABOUT_ROWS = frozenset({400, 404, 409, 422})

Set: TypeAlias = Sequence[CheckedRow]
Shape: TypeAlias = tuple[tuple[str, ...], tuple[str, ...]]


def write_rows(target: BulkTarget, rows: Set, on_conflict: OnConflict) -> Operation[ImportResult]:
    """Write `rows` and tell what became of each. Raises Invalid where the resource has no natural
    key to update or skip by, and what is not about a row (a quota, a lost connection); then none
    is written."""
    if on_conflict != "error" and not target.rows.natural_key:
        raise Invalid("This resource has no natural key, so on_conflict can only be error.")
    if not rows:
        return ImportResult()
    done = yield from _attempt(_write(target, rows, on_conflict))
    if isinstance(done, SaasError):
        done = ImportResult()
        for piece in _pieces(rows):
            done.add((yield from _halved(target, piece, on_conflict)))
    done.errors.sort(key=lambda error: error.line)
    return done


def _halved(target: BulkTarget, rows: Set, on_conflict: OnConflict) -> Operation[ImportResult]:
    done = yield from _attempt(_write(target, rows, on_conflict))
    if not isinstance(done, SaasError):
        return done
    result = ImportResult()
    if len(rows) == 1:
        result.fail(target.refused(rows[0], _faults(done)))
        return result
    middle = len(rows) // 2
    result.add((yield from _halved(target, rows[:middle], on_conflict)))
    result.add((yield from _halved(target, rows[middle:], on_conflict)))
    return result


def _attempt(operation: Operation[ImportResult]) -> Operation[ImportResult | SaasError]:
    done = yield from attempt(operation)
    if isinstance(done, SaasError) and done.status not in _ABOUT_ROWS:
        raise done
    return done


def _write(target: BulkTarget, rows: Set, on_conflict: OnConflict) -> Operation[ImportResult]:
    result = ImportResult()
    fit = yield from _without_dangling(target, rows, result)
    if on_conflict != "error":
        fit = _with_key(target, fit, result)
    updates = on_conflict == "update"
    for turn in _turns(target, fit, each_key_once=updates):
        for shape, alike in _by_shape(target, turn, updates=updates).items():
            for piece in _pieces(_in_order(target, alike)):
                result.add((yield from _write_set(target, piece, shape, on_conflict)))
    return result


def _write_set(
    target: BulkTarget, rows: Set, shape: Shape, on_conflict: OnConflict
) -> Operation[ImportResult]:
    columns, given = shape
    into, key = target.rows, target.rows.natural_key
    changed = tuple(name for name in given if name not in key)
    updates = on_conflict == "update" and bool(changed)
    yield from reserve_new(target, rows)
    ids = [row.id for row in rows]
    values: dict[str, Any] = {
        f"c_{name}": [getattr(row.body, name) for row in rows] for name in columns
    }
    found = yield from into.run(
        ("bulk", columns, changed if updates else None),
        lambda: (
            sql.insert_or_update(into.table, columns, key, changed)
            if updates
            else sql.insert_new(into.table, columns, key)
        ),
        {**values, "c_id": ids, "actor": context.principal().actor},
    )
    new = sum(row[1] for row in found)
    done = ImportResult(inserted=new, updated=len(found) - new)
    if on_conflict != "error":
        done.skipped = len(rows) - len(found)
    elif len(found) < len(rows):
        kept = {row[0] for row in found}
        for row in rows:
            if row.id not in kept:
                done.fail(target.refused(row, _taken(key)))
    return done


def _without_dangling(target: BulkTarget, rows: Set, result: ImportResult) -> Operation[Set]:
    """The rows whose references are live; the others fail."""
    dangling: dict[UUID, list[str]] = {}
    for column, parent in target.rows.references.items():
        if column not in target.columns:
            continue
        ids = {id for row in rows if isinstance(id := getattr(row.body, column), UUID)}
        if not ids:
            continue
        absent = ids - (yield from live_ids(parent, sorted(ids)))
        for row in rows if absent else ():
            if getattr(row.body, column) in absent:
                dangling.setdefault(row.id, []).append(column)
    if not dangling:
        return rows
    for row in rows:
        if row.id in dangling:
            result.fail(target.refused(row, list(unknown_reference(*dangling[row.id]).errors)))
    return [row for row in rows if row.id not in dangling]


def _with_key(target: BulkTarget, rows: Set, result: ImportResult) -> Set:
    """The rows whose natural key is whole; without it there is no row to update or skip."""
    fit = []
    for row in rows:
        missing = [name for name in target.rows.natural_key if getattr(row.body, name) is None]
        if missing:
            faults = [FieldError(f"/{name}", "missing_field", "Required.") for name in missing]
            result.fail(target.refused(row, faults))
        else:
            fit.append(row)
    return fit


def _turns(target: BulkTarget, rows: Set, *, each_key_once: bool) -> Iterator[Set]:
    """First of each key its first row, then its second …: where no statement may have a key twice,
    or where several statements would not go in the order of the rows."""
    if not each_key_once and (
        not target.rows.natural_key or len({target.filled(row) for row in rows}) < 2
    ):
        return iter((rows,))
    turns: list[list[CheckedRow]] = []
    seen: defaultdict[tuple[Any, ...], int] = defaultdict(int)
    for row in rows:
        key = target.key_of(row.body)
        if seen[key] == len(turns):
            turns.append([])
        turns[seen[key]].append(row)
        seen[key] += 1
    return iter(turns)


def _by_shape(target: BulkTarget, rows: Set, *, updates: bool) -> dict[Shape, list[CheckedRow]]:
    """The rows by the columns that they fill and, for an update, those that were given."""
    alike: defaultdict[Shape, list[CheckedRow]] = defaultdict(list)
    for row in rows:
        alike[target.filled(row), row.given if updates else ()].append(row)
    return alike


def _in_order(target: BulkTarget, rows: list[CheckedRow]) -> list[CheckedRow]:
    # By key: two imports of the same rows that go in different orders would wait for each other.
    return sorted(rows, key=lambda row: str(target.key_of(row.body)))


def _pieces(rows: Set) -> Iterator[Set]:
    for start in range(0, len(rows), _SET_ROWS):
        yield rows[start : start + _SET_ROWS]


def _faults(refusal: SaasError) -> list[FieldError]:
    return list(refusal.errors) or [FieldError("", refusal.code, refusal.message)]


def _taken(key: Sequence[str]) -> list[FieldError]:
    message = f"A row with this {' and '.join(key)} exists already."
    return [FieldError(f"/{key[-1]}", "taken", message)]
