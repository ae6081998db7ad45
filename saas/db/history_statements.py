"""The SQL of a row's past. A past state is the present one, or that in the log of its purge, with
the later entries of the log undone.

PostgreSQL rebuilds it, so that values keep their types and a long history stays in the database.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    CTE,
    ColumnElement,
    DateTime,
    Executable,
    Integer,
    Table,
    TableValuedAlias,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
    cast,
    exists,
    func,
    literal_column,
    null,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB, aggregate_order_by

from saas.db.audit import AUDIT_ENTRIES
from saas.db.row_state import ROW_ID, default_state, present_state, state_record

_BEYOND = literal_column("'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid", Uuid())
_JSON_NULL = literal_column("'null'::jsonb", JSONB())
_EMPTY = literal_column("'{}'::jsonb", JSONB())
_ONE = literal_column("1", Integer())


class _Past(NamedTuple):
    """`rows` holds the present row and the `state` after the entry `kept`, both as jsonb; `record`
    is that state with types. Undone are the entries `later`, which end with the first `removal`."""

    rows: CTE
    kept: CTE
    later: CTE
    removal: ColumnElement[Any]
    record: TableValuedAlias


def row_as_of(table: Table, shown: Sequence[str]) -> Executable:
    """One row: the columns of `shown` as they were at the time `as_of`, the time of the
    transaction, and whether the row was there and live."""
    time = bindparam("as_of", type_=DateTime(timezone=True))
    log = _log_of(table)
    past = _past(log, table, log.c.at > time)
    first = select(past.later.c.action).order_by(past.later.c.id).limit(_ONE).scalar_subquery()
    kept = select(past.kept.c.action).scalar_subquery()
    was_there = case(
        (kept.is_not(None), kept != "delete"),
        # What was before the log began is known by the entries that follow.
        else_=and_(func.coalesce(first, "") != "insert", past.record.c.created_at <= time),
    )
    was_live = and_(
        or_(past.rows.c.present.is_not(None), past.removal.is_not(None)),
        was_there,
        past.record.c.deleted_at.is_(None),
    )
    # A masked column is not in the log, and what it holds now is not what it held then.
    masked = {c.name for c in table.columns if c.info.get("masked")}
    columns = [null() if name in masked else past.record.c[name] for name in shown]
    return select(*columns, func.now(), was_live).select_from(past.rows, past.record)


def row_after_entry(table: Table, references: Iterable[str]) -> Executable:
    """One row: what a revert has to know of the row, of the entry `to` and of the state after it.
    Last come, of each reference, the value in that state and the present one as text."""
    target = bindparam("to", type_=Uuid())
    log = _log_of(table)
    past = _past(log, table, log.c.id > target)
    newest = select(log.c.changes["old"]["version"].astext.cast(Integer), log.c.action)
    last = newest.order_by(log.c.id.desc()).limit(_ONE).subquery()
    asked = select(
        cast(past.rows.c.present["version"].astext, Integer),
        past.rows.c.present["deleted_at"].astext.is_not(None),
        select(last.c[0]).where(last.c.action == "delete").scalar_subquery(),
        exists(select(log.c.id).where(log.c.id == target)),
        select(past.kept.c.action).scalar_subquery(),
        cast(past.rows.c.state, Text),
        past.record.c.deleted_at.is_not(None),
        *(past.record.c[name] for name in references),
        *(past.rows.c.present[name].astext for name in references),
    )
    return asked.select_from(past.rows, past.record)


def _past(log: Any, table: Table, is_later: ColumnElement[bool]) -> _Past:
    """Undo all entries from the first one on for which `is_later`. Entries are ordered by id: a
    transaction that began first may be the second to change the row, and its `at` tells when it
    began."""
    id = log.c.id
    first = select(id).where(is_later).order_by(id).limit(_ONE).cte("boundary")
    begin = select(first.c.id).scalar_subquery()
    removals = select(id).where(log.c.action == "delete", id >= begin)
    removed = removals.order_by(id).limit(_ONE).cte("removal")
    removal = select(removed.c.id).scalar_subquery()
    new, old = log.c.changes["new"].label("new"), log.c.changes["old"].label("old")
    before = select(log.c.at, log.c.actor, log.c.action, new)
    before = before.where(id < func.coalesce(begin, _BEYOND)).order_by(id.desc())
    after = select(id, log.c.action, old)
    after = after.where(id >= begin, id <= func.coalesce(removal, _BEYOND))
    kept, later = before.limit(_ONE).cte("kept"), after.cte("later")
    present = present_state(table)
    rebuilt = select(
        present.label("present"),
        default_state(table)
        .concat(func.coalesce(case((removal.is_(None), present)), _EMPTY))
        .concat(_undone(later))
        .label("state"),
    ).cte("rebuilt")
    # Used more than once; folded into its uses, it would undo the entries for each of them.
    rebuilt = rebuilt.prefix_with("MATERIALIZED")
    state = rebuilt.c.state.concat(_stamps(rebuilt, kept, later)).label("state")
    stamped = select(rebuilt.c.present, state).cte("stamped").prefix_with("MATERIALIZED")
    return _Past(stamped, kept, later, removal, state_record(table, stamped.c.state))


def _log_of(table: Table) -> Any:
    return AUDIT_ENTRIES.rows_of(table.name, ROW_ID)


def _undone(later: CTE) -> ColumnElement[Any]:
    """The values before `later`: of each column the old value in the first entry that has it."""
    old = func.jsonb_each(func.nullif(later.c.old, _JSON_NULL)).table_valued("key", "value")
    # Of equal keys jsonb keeps the last.
    last_first = aggregate_order_by(old.c.value, later.c.id.desc())
    merged = select(func.jsonb_object_agg(old.c.key, last_first, type_=JSONB()))
    return func.coalesce(merged.select_from(later, old).scalar_subquery(), _EMPTY)


def _stamps(rebuilt: CTE, kept: CTE, later: CTE) -> ColumnElement[Any]:
    """The version, time and author that entries of an update leave out. The present row, a purge
    and an insert tell them themselves; between those they follow from the entry that was last."""
    changes = select(func.count()).select_from(later).where(later.c.action != "delete")
    undone = changes.scalar_subquery()
    new, state = kept.c.new, rebuilt.c.state

    def of_kept(*values: ColumnElement[Any]) -> ColumnElement[Any]:
        return select(func.coalesce(*values)).select_from(kept).scalar_subquery()

    # The log does not repeat it where a row is new.
    first_version = case((kept.c.action == "insert", 1))
    counted = func.greatest(1, cast(state["version"].astext, Integer) - undone)
    stamps = func.jsonb_build_object(
        "version",
        func.coalesce(of_kept(cast(new["version"].astext, Integer), first_version), counted),
        "updated_at",
        func.coalesce(
            of_kept(cast(new["updated_at"].astext, DateTime(timezone=True)), kept.c.at),
            cast(state["created_at"].astext, DateTime(timezone=True)),
        ),
        "updated_by",
        func.coalesce(of_kept(new["updated_by"].astext, kept.c.actor), state["created_by"].astext),
        type_=JSONB(),
    )
    return case((undone > 0, stamps), else_=_EMPTY)
