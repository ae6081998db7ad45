"""How many live rows of a table a tenant may have, held exactly (docs/decisions/0012), and how many
bytes all of its rows, to within the requests in flight.

A tenant with a limit has a counter for each table, whose `used` is never below its live rows. Who
makes rows raises it, and so holds off the tenant's others until the transaction ends. Only where it
seems to be full are the rows counted, under that lock. Bytes are those that are counted where rows
change (docs/usage.md): who makes rows while there are less than the limit may, whatever their size.
Without a limit nothing of this is done.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Table

from saas import context
from saas.db import quota_statements as sql
from saas.db.error_mapping import already_exists
from saas.db.operation import Operation, Rows, Step
from saas.db.statements import ShapeCache, Statement
from saas.errors import QuotaExceeded

_shapes = ShapeCache()


class Room(NamedTuple):
    """How many more rows there is room for, and which limit says so."""

    rows: int
    limit: str = "rows"


_FULL = Room(0, "storage_bytes")


def reserve(rows: Table, wanted: int = 1) -> Operation[None]:
    """Make room for so many new rows, which the transaction then makes. Raises QuotaExceeded, and
    then nothing is reserved."""
    room = yield from room_for(rows, wanted)
    if room.rows < wanted:
        raise refusal(rows, room)


def reserve_new(rows: Table, key: tuple[str, ...], values: Mapping[str, Any]) -> Operation[None]:
    """`reserve` for one new row. Raises AlreadyExists where its natural key is taken: more room
    would not help it."""
    try:
        yield from reserve(rows)
    except QuotaExceeded:
        if key and all(values.get(name) is not None for name in key):
            statement = _shapes.get(("taken", rows), lambda: sql.select_taken(rows, key))
            if (yield from _run(statement, {f"v_{name}": values[name] for name in key})):
                raise already_exists(*key) from None
        raise


def reserve_again(rows: Table, id: UUID) -> Operation[None]:
    """`reserve` for a row that is there, and deleted. It is locked first, as by those who change
    many rows and then make some: so two never wait for each other."""
    if context.principal().limits.rows is not None:
        yield from _run(_shapes.get(("row", rows), lambda: sql.lock_row(rows)), {"id": id})
        # Its bytes are counted already.
        room = yield from room_of_rows(rows, 1)
        if room.rows < 1:
            raise refusal(rows, room)


def reserve_purged(rows: Table, *, is_deleted: bool) -> Operation[None]:
    """`reserve` for a row that was gone for good and comes back; a deleted one has bytes alone."""
    if not is_deleted:
        yield from reserve(rows)
    elif (yield from _has_no_bytes_left()):
        raise refusal(rows, _FULL)


def room_for(rows: Table, wanted: int) -> Operation[Room]:
    """How many more rows there is room for: at least `wanted`, and then these are reserved; or
    fewer, and then none is, and `charge` must follow for those that are made all the same."""
    if (yield from _has_no_bytes_left()):
        return _FULL
    return (yield from room_of_rows(rows, wanted))


def _has_no_bytes_left() -> Operation[bool]:
    most = context.principal().limits.storage_bytes
    if most is None:
        return False
    used = yield from _run(_shapes.get("bytes", sql.count_bytes), {})
    return bool(used[0]["bytes"] >= most)


def room_of_rows(rows: Table, wanted: int) -> Operation[Room]:
    """`room_for` rows whose bytes are counted already."""
    limit = context.principal().limits.rows
    if limit is None:
        return Room(wanted)
    values = {"entity": rows.name, "wanted": wanted, "quota": limit}
    if (yield from _run(_shapes.get("take", sql.take), values)):
        return Room(wanted)
    yield from hold(rows.name)
    counted = yield from _run(_shapes.get(("count", rows), lambda: sql.count(rows)), values)
    return Room(max(0, limit - counted[0]["rows"]))


def charge(rows: Table, made: int) -> Operation[None]:
    """Count rows that are made in the room that `room_for` has told of."""
    if made:
        values = {"entity": rows.name, "wanted": made}
        yield from _run(_shapes.get("charge", sql.charge), values)


def hold(entity: str) -> Operation[None]:
    """Hold off all others of this tenant who make rows of `entity` until the transaction ends."""
    yield from _run(_shapes.get("hold", sql.hold), {"entity": entity})


def refusal(rows: Table, room: Room) -> QuotaExceeded:
    """What to raise for each row that has no room."""
    limits = context.principal().limits
    if room.limit == _FULL.limit:
        of = "bytes of rows, deleted ones included,"
        return QuotaExceeded("storage_bytes", limits.storage_bytes or 0, of=of)
    return QuotaExceeded("rows", limits.rows or 0, of=rows.name)


def has_quota() -> bool:
    """Whether who acts has a limit that new rows count against."""
    limits = context.principal().limits
    return limits.rows is not None or limits.storage_bytes is not None


def _run(statement: Statement, values: dict[str, Any]) -> Operation[Rows]:
    values["tenant_id"] = context.principal().tenant_id
    return (yield Step(statement, values))
