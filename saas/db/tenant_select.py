"""Free queries: any SELECT over tenants' tables, held to the bound tenant when it runs."""

from collections import namedtuple
from functools import lru_cache
from typing import Any

from sqlalchemy import CompoundSelect, Select, select
from sqlalchemy.dialects.postgresql import asyncpg as asyncpg_dialect
from sqlalchemy.dialects.postgresql import psycopg as psycopg_dialect

from saas import context
from saas.db.named_statement import NamedStatement
from saas.db.operation import Operation
from saas.db.repository import perform
from saas.db.row_operations import run
from saas.db.scoping import DELETED, Deleted, ReadScoping, scoped_dialect
from saas.db.statements import Statement
from saas.errors import Unscoped

FreeQuery = Select[Any] | CompoundSelect[Any]


def tenant_select(*entities: Any, deleted: Deleted = "exclude") -> Select[Any]:
    """A SQLAlchemy select over models, aliases, columns and functions, to go on with: joins,
    groups, subqueries, CTEs, unions. `fetch_all` holds every table in it to the bound tenant.

    `deleted` says which rows the tables of this select have; a subquery that is a plain `select`
    has what the select around it has."""
    return select(*entities).execution_options(**{DELETED: deleted})


async def fetch_all(statement: FreeQuery) -> list[Any]:
    """The rows as named tuples, read in the current transaction.

    Raises Unbound without a tenant, and Unscoped for a statement that cannot be held to it: one
    that changes rows, holds text, or reads control tables such as `tenants`."""
    return await perform(free_query(statement))


def free_query(statement: FreeQuery) -> Operation[list[Any]]:
    """`fetch_all` as an Operation."""
    # Before it is compiled: that needs the tenant too.
    context.principal()
    if not isinstance(statement, Select | CompoundSelect):
        raise Unscoped(f"a free query is a select, not a {type(statement).__name__}")
    rows = yield from run(_FreeStatement(statement), {})
    return [_named(tuple(row.keys()))(*row) for row in rows]


class _FreeNamedStatement(NamedStatement):
    __slots__ = ()
    dialect = scoped_dialect(psycopg_dialect.dialect(), ReadScoping)  # type: ignore[no-untyped-call]


class _FreeStatement(Statement):
    __slots__ = ()
    dialect = scoped_dialect(asyncpg_dialect.dialect(), ReadScoping)  # type: ignore[no-untyped-call]
    named_type = _FreeNamedStatement


@lru_cache(maxsize=512)
def _named(names: tuple[str, ...]) -> Any:
    # Any: the fields are known at run time alone. Names that Python does not take become _1, _2.
    return namedtuple("Row", names, rename=True)
