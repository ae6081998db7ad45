"""What PostgreSQL refuses, as the refusals of the product. Mapped by SQLSTATE and constraint
name, for both drivers, never by passing the server's text on: it names constraints, columns and
values."""

import re
from collections.abc import Iterable
from functools import lru_cache

import asyncpg
import psycopg
from sqlalchemy import CheckConstraint, ForeignKeyConstraint

from saas.db.models import Base
from saas.errors import (
    AlreadyExists,
    Deadlock,
    FieldError,
    Invalid,
    ReadOnly,
    SaasError,
    StillReferenced,
    TransactionFailed,
    Unavailable,
)

# What a statement may fail with, short of a fault in this process.
FAILURES = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    psycopg.Error,
    OSError,
    TimeoutError,
)

_IN_MESSAGE = re.compile(r'constraint "([^"]+)"')
_WORD, _LITERAL = re.compile(r"\w+"), re.compile(r"'[^']*'")
_SHARD_SUFFIX = re.compile(r"_\d{6,}$")

_INVALID_VALUE = {
    "22001": ("too_long", "The value is too long."),
    "22003": ("out_of_range", "The number is out of range."),
    "22008": ("out_of_range", "The date or time is out of range."),
    "22021": ("invalid_text", "The text holds a character that cannot be stored."),
    "22P05": ("invalid_text", "The text holds a character that cannot be stored."),
    "54000": ("too_long", "The value is too long."),
    "54001": ("invalid", "The value is nested too deeply."),
}
_RETRY = {
    "40001": "Another change came first. Repeat the request.",
    "55P03": "The row is locked by another change. Repeat the request.",
    "57014": "The query took longer than this plan allows. Narrow it.",
}
# Connection exceptions, the operator's interventions, too many connections, and the server's own
# end of a transaction that stood idle or lasted too long.
_LOST = ("08", "57", "53300", "25P03", "25P04")
_DEADLOCK = "40P01"
# A migration has changed what a prepared statement gives back; the next one is prepared anew.
_STALE_PLAN = "cached plan must not change result type"
_DATA_ERROR = "22"


def refusal_for(error: Exception) -> Exception:
    """The SaasError that says what happened, or `error` itself where it is a fault of ours."""
    state = _state_of(error)
    if state.startswith((_DATA_ERROR, "23", "5400")):
        return _refused_value(error, state) or error
    if state == _DEADLOCK:
        return Deadlock()
    if state in _RETRY:
        return Unavailable(_RETRY[state])
    if state == "25P02":
        return TransactionFailed()
    if state == "25006":
        return ReadOnly()
    if state.startswith(_LOST) or _is_connection_loss(error):
        return Unavailable()
    return error


def _state_of(error: Exception) -> str:
    if isinstance(error, psycopg.DataError) and error.sqlstate is None:
        # psycopg looks at a value before it is sent, as asyncpg does; that one gives the state.
        return "22021" if "NUL" in str(error) else _DATA_ERROR
    state = getattr(error, "sqlstate", None)
    return state if isinstance(state, str) else ""


def _is_connection_loss(error: Exception) -> bool:
    if isinstance(error, asyncpg.InternalClientError | OSError | TimeoutError):
        return True
    if isinstance(error, psycopg.OperationalError):
        # Without a SQLSTATE it is the connection itself, or none came free in time.
        return error.sqlstate is None
    if isinstance(error, asyncpg.InvalidCachedStatementError) or _STALE_PLAN in str(error):
        return True
    # asyncpg reports a connection that dies under a statement as an InterfaceError.
    return isinstance(error, asyncpg.InterfaceError) and "closed" in str(error)


def _refused_value(error: Exception, state: str) -> SaasError | None:
    columns = _columns_of(_constraint_of(error))
    if state == "23505":
        return already_exists(*columns)
    if state == "23503":
        return unknown_reference(*columns)
    if state == "23001":
        return StillReferenced()
    if state == "23514":
        return Invalid(
            errors=[FieldError(f"/{column}", "invalid", "Not allowed.") for column in columns]
        )
    if state == "23502":
        column = _reported(error, "column_name")
        return Invalid(errors=[FieldError(f"/{column}", "missing_field", "Required.")])
    if state in _INVALID_VALUE:
        code, message = _INVALID_VALUE[state]
        return Invalid(message, errors=[FieldError("", code, message)])
    if state.startswith(_DATA_ERROR):
        return Invalid("A value cannot be stored or compared.")
    return None


def already_exists(*columns: str) -> AlreadyExists:
    """A natural key, or another one that is unique, is taken."""
    return AlreadyExists(
        f"A row with this {' and '.join(columns) or 'key'} exists already.",
        errors=[FieldError(f"/{column}", "taken", "Taken.") for column in columns],
    )


def unknown_reference(*columns: str) -> Invalid:
    """One refusal for an absent row, a deleted one and another tenant's."""
    return Invalid(
        errors=[
            FieldError(f"/{column}", "unknown_reference", "There is no such row.")
            for column in columns
        ]
    )


def _constraint_of(error: Exception) -> str:
    # Citus leaves the field empty and names the shard's constraint in the message.
    name = _reported(error, "constraint_name")
    if not name:
        found = _IN_MESSAGE.search(str(error))
        name = found.group(1) if found else ""
    return _SHARD_SUFFIX.sub("", name)


def _reported(error: Exception, field: str) -> str:
    """A field of the server's report, which each driver keeps in a place of its own."""
    report = error.diag if isinstance(error, psycopg.Error) else error
    return getattr(report, field, None) or ""


@lru_cache(maxsize=512)
def _columns_of(constraint: str) -> tuple[str, ...]:
    for table in Base.metadata.tables.values():
        for index in table.indexes:
            if index.name == constraint:
                return _without_tenant(column.name for column in index.columns)
        for candidate in table.constraints:
            if candidate.name != constraint:
                continue
            if isinstance(candidate, ForeignKeyConstraint):
                return _without_tenant(candidate.column_keys)
            if isinstance(candidate, CheckConstraint):
                # Of a check that is written as text SQLAlchemy knows no columns.
                words = set(_WORD.findall(_LITERAL.sub("", str(candidate.sqltext))))
                return _without_tenant(c.name for c in table.columns if c.name in words)
    return ()


def _without_tenant(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name != "tenant_id")
