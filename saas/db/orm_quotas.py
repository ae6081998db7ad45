"""Quotas in ORM sessions: what a flush is about to make live is counted as a repository's rows
are, by the same operations on the session's own connection."""

from collections import Counter
from typing import Any

from sqlalchemy import Connection, inspect
from sqlalchemy.orm import Session

from saas.context import Principal
from saas.db.models import TenantModel, table_of
from saas.db.operation import Operation, Rows, Step
from saas.db.quotas import reserve


def reserve_rows(session: Session, principal: Principal) -> None:
    """Make room for what a flush is about to insert and restore. Raises QuotaExceeded."""
    if principal.limits.rows is None and principal.limits.storage_bytes is None:
        return
    coming = Counter(table_of(type(row)) for row in (*session.new, *session.dirty) if _comes(row))
    # In one order for all.
    for rows in sorted(coming, key=lambda table: table.name):
        _perform(session.connection(), reserve(rows, coming[rows]))


def _comes(row: Any) -> bool:
    """Whether it will be a live row, and is none now."""
    state = inspect(row)
    is_new = bool(state.pending)
    if not isinstance(row, TenantModel):
        return is_new
    was_deleted = any(state.attrs.deleted_at.history.deleted or ())
    return row.deleted_at is None and (is_new or was_deleted)


def _perform(connection: Connection, operation: Operation[None]) -> None:
    try:
        step = next(operation)
        while True:
            step = operation.send(_rows(connection, step))
    except StopIteration:
        return


def _rows(connection: Connection, step: Step) -> Rows:
    # Past the compiler of sessions, which would add what these statements have: the tenant.
    statement = step.statement
    if connection.dialect.driver == "asyncpg":
        found = connection.exec_driver_sql(statement.sql, tuple(statement.arguments(step.values)))
    else:
        named = statement.named
        found = connection.exec_driver_sql(named.sql, named.arguments(step.values))
    return found.mappings().all() if found.returns_rows else ()
