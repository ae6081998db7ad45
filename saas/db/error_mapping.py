"""What PostgreSQL refuses, as the refusals of the product. Mapped by SQLSTATE and constraint
name, never by passing the server's text on: it names constraints, columns and values."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import asyncpg
from sqlalchemy import CheckConstraint, ForeignKeyConstraint

from saas.db.models import Base
from saas.errors import (
    AlreadyExists,
    FieldError,
    Invalid,
    SaasError,
    StillReferenced,
    Unavailable,
)

# What a statement may fail with, short of a fault in this process.
FAILURES = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
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
}
_RETRY = {
    "40001": "Another change came first. Repeat the request.",
    "40P01": "Another change came first. Repeat the request.",
    "55P03": "The row is locked by another change. Repeat the request.",
    "57014": "The query took longer than this plan allows. Narrow it.",
}


def refusal_for(error: Exception) -> Exception:
    """The SaasError that says what happened, or `error` itself where it is a fault of ours."""
    if isinstance(error, asyncpg.DataError | asyncpg.IntegrityConstraintViolationError):
        return _refused_value(error)
    state = getattr(error, "sqlstate", None)
    if isinstance(error, asyncpg.PostgresError) and state in _RETRY:
        return Unavailable(_RETRY[state])
    if _is_connection_loss(error):
        return Unavailable()
    return error


def _is_connection_loss(error: Exception) -> bool:
    if isinstance(
        error,
        asyncpg.PostgresConnectionError
        | asyncpg.CannotConnectNowError
        | asyncpg.OperatorInterventionError
        | asyncpg.TooManyConnectionsError
        | asyncpg.InvalidCachedStatementError
        | asyncpg.InternalClientError
        | OSError
        | TimeoutError,
    ):
        return True
    # asyncpg reports a connection that dies under a statement as an InterfaceError.
    return isinstance(error, asyncpg.InterfaceError) and "closed" in str(error)


def _refused_value(error: Any) -> SaasError | Exception:
    columns = _columns_of(_constraint_name(error))
    if isinstance(error, asyncpg.UniqueViolationError):
        return AlreadyExists(
            f"A row with this {' and '.join(columns) or 'key'} exists already.",
            errors=[FieldError(f"/{column}", "taken", "Taken.") for column in columns],
        )
    if isinstance(error, asyncpg.ForeignKeyViolationError):
        return unknown_reference(*columns)
    if isinstance(error, asyncpg.RestrictViolationError):
        return StillReferenced()
    if isinstance(error, asyncpg.CheckViolationError):
        return Invalid(
            errors=[FieldError(f"/{column}", "invalid", "Not allowed.") for column in columns]
        )
    if isinstance(error, asyncpg.NotNullViolationError):
        column = error.column_name or ""
        return Invalid(errors=[FieldError(f"/{column}", "missing_field", "Required.")])
    if error.sqlstate in _INVALID_VALUE:
        code, message = _INVALID_VALUE[error.sqlstate]
        return Invalid(message, errors=[FieldError("", code, message)])
    if isinstance(error, asyncpg.DataError):
        return Invalid("A value cannot be stored or compared.")
    fault: Exception = error
    return fault


def unknown_reference(*columns: str) -> Invalid:
    """One refusal for an absent row, a deleted one and another tenant's."""
    return Invalid(
        errors=[
            FieldError(f"/{column}", "unknown_reference", "There is no such row.")
            for column in columns
        ]
    )


def _constraint_name(error: asyncpg.PostgresError) -> str:
    # Citus leaves the field empty and names the shard's constraint in the message.
    name = error.constraint_name
    if not name:
        found = _IN_MESSAGE.search(str(error))
        name = found.group(1) if found else ""
    return _SHARD_SUFFIX.sub("", name)


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
