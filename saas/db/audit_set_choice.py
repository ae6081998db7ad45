"""Which sets of the audit log a query may want, as far as they can tell unopened. `sets` are those
of the tenant, as `AuditEntries` names their columns."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Integer,
    Select,
    Text,
    Uuid,
    and_,
    bindparam,
    cast,
    exists,
    func,
    literal_column,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import BIT

from saas.db.audit_parts import SET_SIZE
from saas.db.filters import condition_sql
from saas.db.keyset import beyond_sql, order_of
from saas.db.query import Condition, ListQuery

# What all entries of a set have in common.
COMMON = frozenset({"at", "actor", "request_id", "ip", "action", "entity"})
# Those on `id` that leave out all of a set, none of it, or a part of one set.
_BOUNDS = frozenset({"eq", "ne", "lt", "lte", "gt", "gte"})


def shown_by(sets: Any, query: ListQuery) -> Select[Any]:
    """Those that a page may show. In an order by what its entries have in common, and by ids, a set
    stands where its entries do; and so many sets are enough that their sizes add up to the page."""
    chosen = select(sets).where(*matching_sets(sets, query))
    cut = _cut_by(query)
    if cut is None or any(key.column not in {*COMMON, "id"} for key in query.sort):
        return chosen
    if query.after or query.before:
        chosen = chosen.where(*_beyond(sets, query))
    # One row more tells of a next page, and a set in the middle of which is the position or a
    # bound may show nothing.
    wanted = literal(query.limit + 2 + cut)
    if query.offset is not None:
        wanted = wanted.op("+")(bindparam("offset", query.offset, type_=Integer()))
    order = tuple(order_of(sets, query))
    ahead = func.sum(sets.c.size).over(order_by=order) - sets.c.size
    nearest = chosen.add_columns(ahead.label("ahead")).order_by(*order).limit(wanted)
    counted = nearest.subquery("nearest")
    shown = counted.c.ahead - literal((1 + cut) * SET_SIZE) <= wanted
    return select(counted).where(shown)


def matching_sets(sets: Any, query: ListQuery) -> Iterator[ColumnElement[bool]]:
    """Which sets may have entries as asked for, as far as they can tell unopened."""
    for place, condition in enumerate(query.conditions):
        yield _may_have(sets, condition, f"f{place}")
    if query.any_of:
        yield or_(*(_may_have(sets, c, f"g{place}") for place, c in enumerate(query.any_of)))


def _may_have(sets: Any, condition: Condition, name: str) -> ColumnElement[bool]:
    """Whether a set may have entries that fulfil the condition with its value as `name`."""
    if condition.column in COMMON:
        return condition_sql(sets, condition, name)
    value = bindparam(name, type_=Uuid())
    if condition.operator == "in":
        values = func.unnest(bindparam(name, type_=ARRAY(Uuid()))).column_valued("value")
        return exists(select(values).where(holds(sets, condition.column, "eq", values)))
    return holds(sets, condition.column, condition.operator, value)


def holds(sets: Any, column: str, operator: str, id: Any) -> ColumnElement[bool]:
    """Whether one of the ids of a set may compare like that to `id`."""
    if column == "id":
        # The first comparison says the same of most sets, and an index can begin there.
        near = sets.c.id >= id_after(id, literal(1 - SET_SIZE))
        least, greatest = sets.c.id <= id, and_(near, sets.c.end >= id)
    else:
        least, greatest = sets.c.first_id <= id, sets.c.last_id >= id
    if operator == "eq":
        return and_(least, greatest)
    bounds: dict[str, ColumnElement[bool]] = {
        **dict.fromkeys(("lt", "lte"), least),
        **dict.fromkeys(("gt", "gte"), greatest),
    }
    return bounds.get(operator, true())


def _beyond(sets: Any, query: ListQuery) -> Iterator[ColumnElement[bool]]:
    """Which sets have entries behind the position of `query`; before it, where it asks for that."""
    backwards = query.before is not None
    (descends,) = (key.descending != backwards for key in query.sort if key.column == "id")
    # Of a set in which the position is, the entry that is furthest on tells.
    furthest = {**sets.c, "id": sets.c.id if descends else sets.c.end}
    position = query.before or query.after or ()
    table: Any = _Columns(furthest)
    yield beyond_sql(table, query.sort, position, backwards=backwards)
    if not descends and query.sort[0].column == "id":
        # It follows, but an index can begin there.
        yield holds(sets, "id", "gt", bindparam("a0", type_=Uuid()))


class _Columns(NamedTuple):
    c: Mapping[str, ColumnElement[Any]]


def literal(value: int) -> ColumnElement[int]:
    """Literal, so that a plan can count on it."""
    return literal_column(str(value), Integer())


def tells_apart(query: ListQuery) -> bool:
    """Whether of one set it may want some entries and not others."""
    return any(c.column not in COMMON for c in (*query.conditions, *query.any_of))


def _cut_by(query: ListQuery) -> int | None:
    """How many sets it may want in part, for a bound of ids is inside; None if it may be any."""
    apart = [c for c in query.conditions if c.column not in COMMON]
    if any(c.column != "id" or c.operator not in _BOUNDS for c in apart):
        return None
    return len(apart) if all(c.column in COMMON for c in query.any_of) else None


def id_after(id: ColumnElement[Any], steps: ColumnElement[Any]) -> ColumnElement[Any]:
    """The id that many `steps` on from `id`: those of a set's entries count up from its own, in
    their last twelve digits."""
    text, digits = cast(id, Text), literal(12)
    end = cast(cast(literal_column("'x'").concat(func.right(text, digits)), BIT(48)), BigInteger)
    counted = func.to_hex(func.greatest(end + steps, literal(0)))
    padded = func.lpad(counted, digits, literal_column("'0'"))
    return cast(func.left(text, literal(24)).concat(padded), Uuid())
