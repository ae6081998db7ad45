"""Many new rows by one statement, and rows that may be there already."""

from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Any, TypeAlias
from uuid import UUID

from asyncpg.pgproto.pgproto import UUID as DriverUUID
from uuid_utils import uuid7

from saas import context
from saas.db import batch_statements as sql
from saas.db.batch_items import BatchItem, Change, Outcome
from saas.db.operation import Operation
from saas.db.operation import Rows as Found
from saas.db.quotas import charge, refusal, room_for
from saas.db.row_operations import RowOperations
from saas.errors import Duplicate, FieldError, Invalid, SaasError

Rows: TypeAlias = RowOperations[Any, Any]
Items: TypeAlias = Mapping[int, BatchItem]

# Of fewer rows, another statement for each choice of columns costs more than it saves.
_MANY = 100
_PLAIN = frozenset({bool, int, str, NoneType})


def create(
    rows: Rows, items: Items, *, expects_conflicts: bool = True
) -> Operation[dict[int, Outcome]]:
    """Insert those that conflict with no row and no other item; or all, raising AlreadyExists for a
    conflict that was not expected. Those for which there is no room in the tenant's quota are
    refused, in their order."""
    room = yield from room_for(rows.table, len(items))
    if room.rows >= len(items):
        return (yield from _insert(rows, items, expects_conflicts))
    left = yield from _new(rows, items)
    done: dict[int, Outcome] = {}
    while left and len(done) < room.rows:
        # One that a key of another kind kept out leaves its place to the next.
        now, left = _first(left, room.rows - len(done))
        done |= yield from _insert(rows, now)
    yield from charge(rows.table, len(done))
    return done | {index: refusal(rows.table, room) for index in left}


def _insert(
    rows: Rows, items: Items, expects_conflicts: bool = True
) -> Operation[dict[int, Outcome]]:
    columns = _columns(items)
    ids, values = _values(rows, items, columns)
    alike = tuple(name for name in columns if _are_alike(values[f"c_{name}"]))
    values |= {f"c_{name}": values[f"c_{name}"][0] for name in alike}
    found = yield from rows.run(
        ("insert", columns, alike, expects_conflicts),
        lambda: sql.insert_rows(
            rows.table, columns, alike=alike, skips_conflicts=expects_conflicts
        ),
        values,
    )
    if found[0][0] == len(ids):
        return {index: Change("created", id) for index, id in ids.items()}
    there = yield from rows.run(
        ("there",), lambda: sql.select_many(rows.table, ("id",)), {"c_id": list(ids.values())}
    )
    inserted = {row[0] for row in there}
    return {index: Change("created", id) for index, id in ids.items() if id in inserted}


def upsert(rows: Rows, items: Items, *, skips: bool) -> Operation[dict[int, Outcome]]:
    """Insert, and change or skip the live rows with the same natural key."""
    if not rows.natural_key:
        raise Invalid("This resource has no natural key, so it takes no upsert.")
    done = _keyless(rows, items)
    fit = {index: item for index, item in items.items() if index not in done}
    if fit:
        done |= yield from _beyond_quota(rows, fit)
    fit = {index: item for index, item in fit.items() if index not in done}
    if not fit:
        return done
    if skips:
        done |= yield from _insert(rows, fit)
    else:
        columns = _columns(fit)
        given = next(iter(fit.values())).given
        changed = tuple(
            name for name in (columns if given is None else given) if name not in rows.natural_key
        )
        _, values = _values(rows, fit, columns)
        found = yield from rows.run(
            ("upsert", columns, changed),
            lambda: sql.upsert_rows(rows.table, columns, rows.natural_key, changed),
            values,
        )
        done |= _matched(rows, fit, found)
    left = {index: item for index, item in fit.items() if index not in done}
    return done | (yield from _skipped(rows, left))


def _beyond_quota(rows: Rows, items: Items) -> Operation[dict[int, Outcome]]:
    """The refusals of those that would be new rows and have no room; room is made for the others.
    A row that is there now and deleted by somebody else in between makes room for itself."""
    room = yield from room_for(rows.table, len(items))
    if room.rows >= len(items):
        return {}
    now, beyond = _first((yield from _new(rows, items)), room.rows)
    yield from charge(rows.table, len(now))
    return {index: refusal(rows.table, room) for index in beyond}


def _new(rows: Rows, items: Items) -> Operation[dict[int, BatchItem]]:
    """Those whose natural key no live row and no item before has."""
    key = rows.natural_key
    if not key:
        return dict(items)
    found = yield from rows.run(
        ("by key",),
        lambda: sql.select_by_key(rows.table, key),
        sql.arrays_of(key, [item.values for item in items.values()]),
    )
    taken = {tuple(row[1:]) for row in found}
    new: dict[int, BatchItem] = {}
    for index, item in items.items():
        values = _key(rows, item)
        # Null is like no other null.
        if None in values or values not in taken:
            taken.add(values)
            new[index] = item
    return new


def _first(items: Items, most: int) -> tuple[dict[int, BatchItem], dict[int, BatchItem]]:
    pairs = list(items.items())
    return dict(pairs[:most]), dict(pairs[most:])


def _matched(rows: Rows, items: Items, found: Found) -> dict[int, Outcome]:
    by_key = {tuple(row[2:]): row for row in found}
    matched = {index: by_key.get(_key(rows, item)) for index, item in items.items()}
    return {
        index: Change("created" if row[1] else "updated", row[0])
        for index, row in matched.items()
        if row is not None
    }


def _skipped(rows: Rows, items: Items) -> Operation[dict[int, Outcome]]:
    """Those whose live row is there already."""
    if not items:
        return {}
    found = yield from rows.run(
        ("by key",),
        lambda: sql.select_by_key(rows.table, rows.natural_key),
        sql.arrays_of(rows.natural_key, [item.values for item in items.values()]),
    )
    ids = {tuple(row[1:]): row[0] for row in found}
    keys = {index: _key(rows, item) for index, item in items.items()}
    return {index: Change("skipped", ids[key]) for index, key in keys.items() if key in ids}


def repeated(rows: Rows, items: Items) -> dict[int, SaasError]:
    """The refusals of upserts with the natural key of one before them: their order would decide."""
    first: dict[tuple[Any, ...], int] = {}
    refused: dict[int, SaasError] = {}
    for index, item in items.items():
        if item.kind != "upsert" or not rows.natural_key:
            continue
        key = _key(rows, item)
        # Null is like no other null; `_keyless` refuses it.
        if None not in key and first.setdefault(key, index) != index:
            message = f"Item {first[key]} has the same."
            faults = [FieldError(f"/{name}", "duplicate", message) for name in rows.natural_key]
            refused[index] = Duplicate(errors=faults)
    return refused


def _keyless(rows: Rows, items: Items) -> dict[int, Outcome]:
    refused: dict[int, Outcome] = {}
    for index, item in items.items():
        missing = [name for name in rows.natural_key if item.values.get(name) is None]
        if missing:
            faults = [FieldError(f"/{name}", "missing_field", "Required.") for name in missing]
            refused[index] = Invalid(errors=faults)
    return refused


def _key(rows: Rows, item: BatchItem) -> tuple[Any, ...]:
    return tuple(item.values.get(name) for name in rows.natural_key)


def _are_alike(values: Sequence[Any]) -> bool:
    """Whether many rows have the same value, as most have in a column that their sender leaves
    out: it need not be sent for each. Of types alone whose equal values are stored alike, and of
    one of them: to Python 1, True and Decimal("1.0") are equal."""
    if len(values) < _MANY or values.count(values[0]) < len(values):
        return False
    kinds = set(map(type, values))
    return len(kinds) == 1 and kinds <= _PLAIN


def _columns(items: Items) -> tuple[str, ...]:
    return tuple(next(iter(items.values())).values)


def _values(
    rows: Rows, items: Items, columns: tuple[str, ...]
) -> tuple[dict[int, UUID], dict[str, Any]]:
    """A new id for each item, in their order, and the parameters of the statement."""
    given = {index: item.values for index, item in items.items()}
    # All batches insert in the order of the natural key: two that hold the same keys in different
    # orders would otherwise wait for each other, and the database ends one of them.
    texts = ([str(values.get(name)) for values in given.values()] for name in rows.natural_key)
    keys = dict(zip(given, zip(*texts, strict=True), strict=False))
    ordered = sorted(given, key=keys.__getitem__) if keys else list(given)
    # The class in which rows come back too; Python's own takes a microsecond to make.
    ids: dict[int, UUID] = {index: DriverUUID(uuid7().bytes) for index in given}
    arrays = sql.arrays_of(columns, [given[index] for index in ordered])
    return ids, {
        **arrays,
        "c_id": [ids[index] for index in ordered],
        "actor": context.principal().actor,
    }
