"""The SQL that gives a row an earlier state. The state comes as the jsonb text that was read from
the log, so that no value passes through another type on its way back."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Executable,
    Integer,
    Table,
    TableValuedAlias,
    Text,
    Uuid,
    bindparam,
    case,
    cast,
    func,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, insert

from saas.db.row_state import ROW_ID, restored_columns, state_record
from saas.db.statements import tenant_predicate

_ACTOR = bindparam("actor", type_=Text())
_SEEN_VERSION = bindparam("seen_version", type_=Integer())


def rewrite_row(table: Table, returning: Sequence[str], *, is_deleted: bool) -> Executable:
    """Give a row of the version that was seen the `state`, live or soft-deleted. No row comes back
    where that changes nothing, or where another change came first."""
    state = _given_state(table)
    restored = restored_columns(table)
    was_live = table.c.deleted_at.is_(None)
    differs = [table.c[c.name].is_distinct_from(state.c[c.name]) for c in restored]
    rewritten = update(table).where(
        tenant_predicate(table),
        table.c.id == ROW_ID,
        table.c.version == _SEEN_VERSION,
        or_(was_live if is_deleted else table.c.deleted_at.is_not(None), *differs),
    )
    values: dict[str, Any] = {c.name: state.c[c.name] for c in restored}
    values |= {"version": table.c.version + 1, "updated_at": func.now(), "updated_by": _ACTOR}
    # A row that is deleted by a revert is deleted now, by its caller; one that is so already stays.
    values["deleted_at"] = func.coalesce(table.c.deleted_at, func.now()) if is_deleted else null()
    values["deleted_by"] = (
        case((was_live, _ACTOR), else_=table.c.deleted_by) if is_deleted else null()
    )
    return rewritten.values(values).returning(*(table.c[name] for name in returning))


def reinsert_row(table: Table, returning: Sequence[str], *, is_deleted: bool) -> Executable:
    """Insert a purged row again, with its id and creation. No row comes back where another request
    was first."""
    state = _given_state(table)
    values: dict[str, ColumnElement[Any]] = {
        c.name: cast(null(), c.type) for c in table.columns if c.info.get("masked")
    }
    values |= {c.name: state.c[c.name] for c in restored_columns(table)}
    values |= {
        "tenant_id": bindparam("tenant_id", type_=Uuid()),
        "id": ROW_ID,
        "version": _SEEN_VERSION + 1,
        "created_at": func.coalesce(state.c.created_at, func.now()),
        "created_by": func.coalesce(state.c.created_by, _ACTOR),
        "updated_by": _ACTOR,
    }
    if is_deleted:
        values |= {"deleted_at": func.now(), "deleted_by": _ACTOR}
    chosen = select(*values.values()).select_from(state)
    again = insert(table).from_select(list(values), chosen)
    # The key alone: a natural key that is taken must still be a refusal.
    again = again.on_conflict_do_nothing(index_elements=[table.c.tenant_id, table.c.id])
    return again.returning(*(table.c[name] for name in returning))


def _given_state(table: Table) -> TableValuedAlias:
    return state_record(table, cast(bindparam("state", type_=Text()), JSONB()))
