"""Compilers that put the first lock into every statement by themselves.

Wherever SQL names a tenant's table to read from, in FROM, a join, a subquery, a CTE or an EXISTS,
they write `(SELECT * FROM orders WHERE orders.tenant_id = $1) AS orders` instead. A join of any
kind then meets rows of one tenant alone: a predicate in WHERE would make an outer join an inner
one, and one in ON would let the other tenants' rows of a full join through. PostgreSQL flattens
such a subquery, so the plan is the one of a predicate that is written by hand.
"""

import re
from typing import Any, Literal, NoReturn

from sqlalchemy import ColumnElement, Table, Uuid, bindparam
from sqlalchemy.sql.compiler import SQLCompiler

from saas import context
from saas.errors import Unscoped

Deleted = Literal["exclude", "include", "only"]
DELETED = "deleted"
"""The execution option of a select that says which rows of its own tables it reads."""

# What a column's text could hide a table in.
_QUERY = re.compile(r"\b(select|from|table|with|join)\b", re.IGNORECASE)


def bound_tenant_predicate(table: Table) -> ColumnElement[bool]:
    """The first lock, with the tenant of the moment of execution, also for SQL that was compiled
    for another one; Unbound without one."""
    tenant = bindparam(
        "bound_tenant", type_=Uuid(), callable_=lambda: context.principal().tenant_id
    )
    return table.c.tenant_id == tenant


class Scoping(SQLCompiler):
    """Mixed into a dialect's compiler. Raises Unscoped for what it cannot hold to the tenant: text,
    tables that are no tenant's, and tables that are only known by name."""

    deleted_by_default: Deleted = "include"
    _deleted: tuple[Deleted, ...] = ()

    def visit_table(self, table: Any, *arguments: Any, **options: Any) -> str:
        name: str = _inner(super()).visit_table(table, *arguments, **options)
        if not name or options.get("ashint"):
            return name
        _refuse_stranger(table)
        if options.get("iscrud"):
            # The target of an UPDATE or DELETE, whose predicate stands in its WHERE.
            return name
        enclosing = options.get("enclosing_alias")
        is_named = enclosing is not None and enclosing.element is table
        return self._own_rows(table, name) + ("" if is_named else f" AS {name}")

    def visit_select(self, select_stmt: Any, *arguments: Any, **options: Any) -> str:
        inherited = self._deleted[-1] if self._deleted else self.deleted_by_default
        chosen = select_stmt.get_execution_options().get(DELETED, inherited)
        self._deleted = (*self._deleted, chosen)
        try:
            return str(_inner(super()).visit_select(select_stmt, *arguments, **options))
        finally:
            self._deleted = self._deleted[:-1]

    def visit_column(self, column: Any, *arguments: Any, **options: Any) -> str:
        if column.is_literal and _QUERY.search(column.name):
            refuse_text()
        return super().visit_column(column, *arguments, **options)

    def visit_textclause(self, *_: Any, **__: Any) -> NoReturn:
        refuse_text()

    def visit_tstring(self, *_: Any, **__: Any) -> NoReturn:
        refuse_text()

    def _own_rows(self, table: Table, name: str) -> str:
        conditions = [bound_tenant_predicate(table)]
        deleted = self._deleted[-1] if self._deleted else self.deleted_by_default
        if "deleted_at" in table.c and deleted != "include":
            at = table.c.deleted_at
            conditions.append(at.is_(None) if deleted == "exclude" else at.is_not(None))
        where = " AND ".join(self.process(condition) for condition in conditions)
        return f"(SELECT * FROM {name} WHERE {where})"  # noqa: S608 - names that are quoted above


class ReadScoping(Scoping):
    """For free queries: they read, and soft-deleted rows are no rows unless they say so."""

    deleted_by_default = "exclude"

    def visit_insert(self, *_: Any, **__: Any) -> NoReturn:
        _refuse_change()

    def visit_update(self, *_: Any, **__: Any) -> NoReturn:
        _refuse_change()

    def visit_delete(self, *_: Any, **__: Any) -> NoReturn:
        _refuse_change()


class SessionScoping(Scoping):
    """For sessions: changes carry the predicate too."""

    def visit_update(self, update_stmt: Any, *arguments: Any, **options: Any) -> str:
        return super().visit_update(_scoped(update_stmt), *arguments, **options)

    def visit_delete(self, delete_stmt: Any, *arguments: Any, **options: Any) -> str:
        return str(_inner(super()).visit_delete(_scoped(delete_stmt), *arguments, **options))


def scoped_dialect(dialect: Any, scoping: type[Scoping]) -> Any:
    """`dialect`, compiling with `scoping` from now on."""
    own = dialect.statement_compiler
    dialect.statement_compiler = type(f"{scoping.__name__}{own.__name__}", (scoping, own), {})
    return dialect


def _inner(compiler: Any) -> Any:
    """SQLAlchemy leaves much of its compilers without types."""
    return compiler


def _scoped(change: Any) -> Any:
    _refuse_stranger(change.table)
    return change.where(bound_tenant_predicate(change.table))


def _refuse_stranger(table: Any) -> None:
    if not isinstance(table, Table) or table.info.get("tenancy") != "tenant":
        raise Unscoped(f"{getattr(table, 'name', table)} is no tenant's table")


def refuse_text() -> NoReturn:
    raise Unscoped("text could name any table: say it with models, columns and func")


def _refuse_change() -> NoReturn:
    raise Unscoped("a free query reads: change rows through a repository")
