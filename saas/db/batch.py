"""Many changes at once: neighbours of one kind go in one statement, and only where that fails in
smaller ones, down to single rows, so that exactly the bad ones are told."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from saas.db.batch_inserts import repeated
from saas.db.batch_items import (
    CONFLICTS,
    KINDS,
    BatchItem,
    BatchResult,
    OnConflict,
    Outcome,
)
from saas.db.batch_locks import lock_rows, take_turn
from saas.db.batch_sets import change, change_one, creates
from saas.db.batch_statements import select_many
from saas.db.operation import Operation
from saas.db.row_operations import Read, RowOperations
from saas.db.savepoint import attempt, despite_deadlocks
from saas.errors import FieldError, SaasError

# So many go one by one where one statement for all of them fails.
_FEW = 10


def batch(
    rows: RowOperations[Any, Any],
    items: Sequence[BatchItem | SaasError],
    *,
    is_atomic: bool,
    on_conflict: OnConflict,
    place: str = "/items/{}/data",
) -> Operation[list[BatchResult]]:
    """Carry out `items` in their order. Atomic: the first refusal is raised, and the rows are as
    before. Otherwise an item fails alone; one that is a refusal already fails as that. Pointers of
    the others begin with `place`, where {} is the index. Raises ValueError for what is no kind of
    change."""
    if on_conflict not in CONFLICTS:
        raise ValueError(f"on_conflict={on_conflict!r}: it is one of {sorted(CONFLICTS)}")
    for index, item in enumerate(items):
        if isinstance(item, BatchItem) and item.kind not in KINDS:
            raise ValueError(f"items[{index}]: kind={item.kind!r}: it is one of {sorted(KINDS)}")
    return (
        yield from despite_deadlocks(
            lambda: _carry_out(
                rows, items, is_atomic=is_atomic, on_conflict=on_conflict, place=place
            )
        )
    )


def create_many(
    rows: RowOperations[Any, Read], values: Sequence[Mapping[str, Any]], *, place: str
) -> Operation[list[Read]]:
    """Insert all or, raising why, none; the rows come back in the order of `values`."""
    items = [BatchItem(kind="create", values=dict(row)) for row in values]
    results = yield from batch(rows, items, is_atomic=True, on_conflict="error", place=place)
    ids = [result.id for result in results]
    found = yield from rows.run(
        ("many",), lambda: select_many(rows.table, rows.columns), {"c_id": ids}
    )
    by_id = {row[rows.columns.index("id")]: rows.read(*row) for row in found}
    return [by_id[id] for id in ids]


def _carry_out(
    rows: RowOperations[Any, Any],
    items: Sequence[BatchItem | SaasError],
    *,
    is_atomic: bool,
    on_conflict: OnConflict,
    place: str,
) -> Operation[list[BatchResult]]:
    results: dict[int, BatchResult] = {}
    good: dict[int, BatchItem] = {}
    for index, item in enumerate(items):
        if isinstance(item, SaasError):
            results[index] = _result(index, item, is_atomic=is_atomic)
        else:
            good[index] = item
    for index, refusal in repeated(rows, good).items():
        del good[index]
        results[index] = _result(index, _located(refusal, place.format(index)), is_atomic=is_atomic)
    runs = list(_runs(good))
    yield from take_turn(rows, runs)
    yield from lock_rows(rows, good.values(), on_conflict)
    for run in runs:
        # Most atomic batches are good as a whole, and to look for conflicts takes a tenth longer.
        is_bold = is_atomic and creates(run, on_conflict)
        outcomes = yield from _change(rows, run, on_conflict, is_atomic=is_atomic, is_bold=is_bold)
        # Behind a refusal of an atomic batch, which is raised here, there is no outcome.
        for index in run:
            outcome = outcomes[index]
            if isinstance(outcome, SaasError):
                outcome = _located(outcome, place.format(index))
            results[index] = _result(index, outcome, is_atomic=is_atomic)
    return [results[index] for index in range(len(items))]


def _change(
    rows: RowOperations[Any, Any],
    run: Mapping[int, BatchItem],
    on_conflict: OnConflict,
    *,
    is_atomic: bool,
    is_bold: bool,
) -> Operation[dict[int, Outcome]]:
    """What became of each of `run`, which one statement changes; where that fails, one for each
    half, so that few bad ones leave the others in sets. Atomic: up to the first refusal."""
    outcomes: dict[int, Outcome] = {}
    if len(run) > 1:
        together = yield from _together(rows, run, on_conflict, is_bold=is_bold)
        if together is None and len(run) > _FEW:
            for half in _halves(run):
                outcomes |= yield from _change(
                    rows, half, on_conflict, is_atomic=is_atomic, is_bold=False
                )
                if is_atomic and any(isinstance(o, SaasError) for o in outcomes.values()):
                    break
            return outcomes
        outcomes |= together or {}
        if len(outcomes) == len(run):
            return outcomes
    for index, item in run.items():
        if index not in outcomes:
            outcomes[index] = yield from attempt(change_one(rows, item, on_conflict))
        if is_atomic and isinstance(outcomes[index], SaasError):
            break
    return outcomes


def _together(
    rows: RowOperations[Any, Any],
    run: Mapping[int, BatchItem],
    on_conflict: OnConflict,
    *,
    is_bold: bool,
) -> Operation[Mapping[int, Outcome] | None]:
    """What became of those of `run` that one statement could change; None where it failed."""
    for expects_conflicts in (False, True) if is_bold else (True,):
        outcomes = yield from attempt(
            change(rows, run, on_conflict, expects_conflicts=expects_conflicts)
        )
        if not isinstance(outcomes, SaasError):
            return outcomes
    return None


def _halves(run: Mapping[int, BatchItem]) -> Iterator[dict[int, BatchItem]]:
    items = list(run.items())
    middle = len(items) // 2
    yield dict(items[:middle])
    yield dict(items[middle:])


def _runs(items: dict[int, BatchItem]) -> Iterator[dict[int, BatchItem]]:
    """Neighbours that one statement can change: of one shape, and no row twice."""
    run: dict[int, BatchItem] = {}
    shape: tuple[Any, ...] = ()
    ids: set[UUID] = set()
    for index, item in items.items():
        its_shape = item.kind, tuple(item.values), item.version is None, item.given
        if its_shape != shape or item.id in ids:
            if run:
                yield run
            run, shape, ids = {}, its_shape, set()
        run[index] = item
        if item.id is not None:
            ids.add(item.id)
    if run:
        yield run


def _result(index: int, outcome: Outcome, *, is_atomic: bool) -> BatchResult:
    if not isinstance(outcome, SaasError):
        return BatchResult(index=index, status=outcome.status, id=outcome.id)
    if is_atomic:
        raise outcome
    return BatchResult(index=index, status="failed", refusal=outcome)


def _located(refusal: SaasError, place: str) -> SaasError:
    """A refusal with pointers into the batch instead of into the row."""
    refusal.errors = tuple(
        error._replace(pointer=place + error.pointer) for error in refusal.errors
    ) or (FieldError(place.removesuffix("/data"), refusal.code, refusal.message),)
    return refusal
