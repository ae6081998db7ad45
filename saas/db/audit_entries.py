"""The audit log as single entries: those of `audit_log`, and those that `audit_sets` holds by the
hundred. A page of entries opens only the sets that it may show."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Executable,
    Integer,
    Select,
    Table,
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
    union_all,
)
from sqlalchemy.dialects.postgresql import BIT, JSONB

from saas.db.audit_parts import SET_SIZE
from saas.db.filters import condition_sql, matching
from saas.db.keyset import beyond_sql, order_of
from saas.db.query import Condition, ListQuery
from saas.db.statements import tenant_predicate

# What all entries of a set have in common.
_COMMON = frozenset({"at", "actor", "request_id", "ip", "action", "entity"})
# Those on `id` that leave out all of a set, none of it, or a part of one set.
_BOUNDS = frozenset({"eq", "ne", "lt", "lte", "gt", "gte"})


class AuditEntries:
    """What the audit log is read from: the tables `log` and `sets`."""

    def __init__(self, log: Table, sets: Table) -> None:
        self._log = log
        self._sets = sets

    def rows(self, query: ListQuery | None = None) -> Any:
        """The tenant's entries with the columns of the log; given a query, at least those that its
        page may show."""
        sets = select(self._named()) if query is None else self._page_of(query)
        return self._together(self._opened(sets))

    def row(self, id: ColumnElement[Any]) -> Any:
        """The tenant's entry `id`, and few others."""
        sets = self._named()
        return self._together(self._opened(select(sets).where(_holds(sets, "id", "eq", id))))

    def rows_of(self, entity: str, id: ColumnElement[Any]) -> Any:
        """The entries of one row of the tenant."""
        sets = self._named()
        around = _holds(sets, "entity_id", "eq", id)
        chosen = select(sets).where(sets.c.entity == entity, around)
        # Before it is made an id again, for that would take as long as the rest.
        is_it = literal_column("entry.new ->> 'id'", Text()) == cast(id, Text)
        return self._together(self._opened(chosen).where(is_it), entity=entity, entity_id=id)

    def in_order(self) -> tuple[Any, Any]:
        """All of the tenant's entries, and the order of their ids in which PostgreSQL reads them
        without a sort: sets in the order of theirs, and one after another."""
        place = self._log.c.id.label("place")
        number = literal_column("0::bigint", BigInteger()).label("number")
        single = select(*self._log.columns, place, number)
        sets = self._opened(select(self._named()), in_order=True).subquery("opened")
        both: Any = union_all(single, select(sets)).subquery("entries")
        entries = select(both).where(tenant_predicate(both)).subquery(self._log.name)
        return entries, (entries.c.place, entries.c.number)

    def count(self, query: ListQuery) -> Executable:
        """How many entries fulfil the query."""
        sets = self._named()
        if _tells_apart(query):
            rows = self._together(self._opened(select(sets).where(*_matching(sets, query))))
            return matching(select(func.count()).select_from(rows), rows, query, ())
        log = self._log
        alone = select(func.count()).select_from(log).where(tenant_predicate(log))
        alone = matching(alone, log, query, ())
        in_sets = select(func.coalesce(func.sum(sets.c.size), 0)).where(*_matching(sets, query))
        return select(alone.scalar_subquery() + in_sets.scalar_subquery())

    def _named(self) -> Any:
        """The tenant's sets, with the action of their entries and the id of the last one."""
        sets = self._sets
        action = literal_column("'insert'::text", Text()).label("action")
        end = _counted(sets.c.id, sets.c.size - _number(1)).label("end")
        named = select(*sets.columns, action, end).where(tenant_predicate(sets))
        return named.subquery("named")

    def _page_of(self, query: ListQuery) -> Select[Any]:
        """Those sets that a page may show. In an order by what its entries have in common, and by
        ids, a set stands where its entries do; and so many sets are enough that their sizes add up
        to the page."""
        sets = self._named()
        chosen = select(sets).where(*_matching(sets, query))
        cut = _cut_by(query)
        if cut is None or any(key.column not in {*_COMMON, "id"} for key in query.sort):
            return chosen
        if query.after or query.before:
            chosen = chosen.where(*_beyond(sets, query))
        # One row more tells of a next page, and a set in the middle of which is the position or a
        # bound may show nothing.
        wanted = _number(query.limit + 2 + cut)
        if query.offset is not None:
            wanted = wanted.op("+")(bindparam("offset", query.offset, type_=Integer()))
        order = tuple(order_of(sets, query))
        ahead = func.sum(sets.c.size).over(order_by=order) - sets.c.size
        nearest = chosen.add_columns(ahead.label("ahead")).order_by(*order).limit(wanted)
        counted = nearest.subquery("nearest")
        shown = counted.c.ahead - _number((1 + cut) * SET_SIZE) <= wanted
        return select(counted).where(shown)

    def _opened(self, sets: Select[Any], *, in_order: bool = False) -> Select[Any]:
        """The entries in `sets`, with the columns of the log; `in_order` of their places, which
        come last."""
        each = sets.subquery("sets")
        entry = func.jsonb_array_elements(each.c.rows).table_valued("new", with_ordinality="number")
        entry = entry.render_derived(name="entry")
        columns: dict[str, ColumnElement[Any]] = {
            "tenant_id": each.c.tenant_id,
            **{name: each.c[name] for name in _COMMON},
            "id": _counted(each.c.id, entry.c.number - _number(1)),
            "entity_id": literal_column("(entry.new ->> 'id')::uuid", Uuid()),
            "changes": _CHANGES,
        }
        shown = [columns[column.name].label(column.name) for column in self._log.columns]
        opened = select(*shown).select_from(each.join(entry, true()))
        if not in_order:
            return opened
        place = each.c.id.label("place"), entry.c.number.label("number")
        return opened.add_columns(*place).order_by(*place)

    def _together(self, opened: Select[Any], **values: Any) -> Any:
        """The tenant's entries of the log and `opened`, all of them with these `values`."""
        # PostgreSQL takes a part of a UNION in the order of its index only where the conditions
        # stand outside.
        both: Any = union_all(select(*self._log.columns), opened).subquery("entries")
        alike = (both.c[name] == value for name, value in values.items())
        return select(both).where(tenant_predicate(both), *alike).subquery(self._log.name)


# In the names that `_opened` gives.
_CHANGES = literal_column(
    "CASE WHEN entry.new ? 'version'"
    " THEN jsonb_build_object('old', NULL, 'new', entry.new - 'id')"
    " ELSE jsonb_build_object('is_new', true, 'old', NULL, 'new', entry.new - 'id') END",
    JSONB(),
)


def _counted(id: ColumnElement[Any], steps: ColumnElement[Any]) -> ColumnElement[Any]:
    """The id that many `steps` on from `id`: those of a set's entries count up from its own, in
    their last twelve digits."""
    text, digits = cast(id, Text), _number(12)
    end = cast(cast(literal_column("'x'").concat(func.right(text, digits)), BIT(48)), BigInteger)
    counted = func.to_hex(func.greatest(end + steps, _number(0)))
    padded = func.lpad(counted, digits, literal_column("'0'"))
    return cast(func.left(text, _number(24)).concat(padded), Uuid())


def _matching(sets: Any, query: ListQuery) -> Iterator[ColumnElement[bool]]:
    """Which sets may have entries as asked for, as far as they can tell unopened."""
    for number, condition in enumerate(query.conditions):
        yield _may_have(sets, condition, f"f{number}")
    if query.any_of:
        yield or_(*(_may_have(sets, c, f"g{number}") for number, c in enumerate(query.any_of)))


def _may_have(sets: Any, condition: Condition, name: str) -> ColumnElement[bool]:
    """Whether a set may have entries that fulfil the condition with its value as `name`."""
    if condition.column in _COMMON:
        return condition_sql(sets, condition, name)
    value = bindparam(name, type_=Uuid())
    if condition.operator == "in":
        values = func.unnest(bindparam(name, type_=ARRAY(Uuid()))).column_valued("value")
        return exists(select(values).where(_holds(sets, condition.column, "eq", values)))
    return _holds(sets, condition.column, condition.operator, value)


def _holds(sets: Any, column: str, operator: str, id: Any) -> ColumnElement[bool]:
    """Whether one of the ids of a set may compare like that to `id`."""
    if column == "id":
        # The first comparison says the same of most sets, and an index can begin there.
        near = sets.c.id >= _counted(id, _number(1 - SET_SIZE))
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
        yield _holds(sets, "id", "gt", bindparam("a0", type_=Uuid()))


class _Columns(NamedTuple):
    c: Mapping[str, ColumnElement[Any]]


def _number(value: int) -> ColumnElement[int]:
    """Literal, so that a plan can count on it."""
    return literal_column(str(value), Integer())


def _tells_apart(query: ListQuery) -> bool:
    """Whether of one set it may want some entries and not others."""
    return any(c.column not in _COMMON for c in (*query.conditions, *query.any_of))


def _cut_by(query: ListQuery) -> int | None:
    """How many sets it may want in part, for a bound of ids is inside; None if it may be any."""
    apart = [c for c in query.conditions if c.column not in _COMMON]
    if any(c.column != "id" or c.operator not in _BOUNDS for c in apart):
        return None
    return len(apart) if all(c.column in _COMMON for c in query.any_of) else None
