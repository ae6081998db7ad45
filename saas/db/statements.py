"""The SQL that the repository runs: Core statements, each shape compiled once.

`tenant_predicate` is the first lock: every statement on a tenant table is built by one of the
functions below, and each of them applies it. The literal predicate is also what the index and
shard pruning work with; row-level security alone would do neither.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    ARRAY,
    Column,
    ColumnElement,
    Executable,
    Select,
    Table,
    Update,
    Uuid,
    any_,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import asyncpg as asyncpg_dialect

from saas.db.filters import after_sql, condition_sql, word_sql
from saas.db.query import ListQuery

_DIALECT = asyncpg_dialect.dialect()  # type: ignore[no-untyped-call]


class Statement:
    """SQL text with the order of its parameters; asyncpg keeps it prepared by its text."""

    __slots__ = ("_defaults", "_names", "sql")

    def __init__(self, statement: Executable) -> None:
        compiled = statement.compile(dialect=_DIALECT)  # type: ignore[attr-defined]
        self.sql = str(compiled)
        self._names: tuple[str, ...] = tuple(compiled.positiontup or ())
        self._defaults: Mapping[str, Any] = compiled.params

    def arguments(self, values: Mapping[str, Any]) -> list[Any]:
        """The values in the order of the parameters."""
        defaults = self._defaults
        return [values[name] if name in values else defaults[name] for name in self._names]


class ShapeCache:
    """Remembers a Statement per shape; bounded, because callers choose the shapes."""

    def __init__(self, most: int = 500) -> None:
        self._statements: dict[Hashable, Statement] = {}
        self._most = most

    def get(self, shape: Hashable, build: Callable[[], Executable]) -> Statement:
        found = self._statements.get(shape)
        if found is None:
            if len(self._statements) >= self._most:
                del self._statements[next(iter(self._statements))]
            found = self._statements[shape] = Statement(build())
        return found


def tenant_predicate(table: Table) -> ColumnElement[bool]:
    """The first lock: only rows of the bound tenant, by a bound parameter."""
    return table.c.tenant_id == bindparam("tenant_id", type_=Uuid())


def select_one(table: Table, columns: Sequence[str], *, include_deleted: bool) -> Executable:
    chosen = select(*(table.c[name] for name in columns))
    chosen = chosen.where(tenant_predicate(table), table.c.id == bindparam("id", type_=Uuid()))
    return chosen if include_deleted else chosen.where(*_live(table))


def select_live_ids(table: Table) -> Executable:
    """Those of the given ids that are live rows of the tenant."""
    ids = bindparam("ids", type_=ARRAY(Uuid()))
    return select(table.c.id).where(tenant_predicate(table), table.c.id == any_(ids), *_live(table))


def select_page(
    table: Table, columns: Sequence[str], query: ListQuery, search: Sequence[str]
) -> Executable:
    chosen = _matching(select(*(table.c[name] for name in columns)), table, query, search)
    if query.after is not None:
        chosen = chosen.where(after_sql(table, query.sort, query.after))
    for key in query.sort:
        column = table.c[key.column]
        order = column.desc() if key.descending else column.asc()
        # Nulls sort last both ways; ascending order has them last by itself.
        chosen = chosen.order_by(
            order.nulls_last() if column.nullable and key.descending else order
        )
    if query.offset is not None:
        chosen = chosen.offset(bindparam("offset", query.offset))
    # Literal, so that the planner knows how few rows are wanted; one row more tells of a next page.
    return chosen.limit(literal_column(str(query.limit + 1)))


def count_matching(table: Table, query: ListQuery, search: Sequence[str]) -> Executable:
    return _matching(select(func.count().label("total")).select_from(table), table, query, search)


def insert_row(table: Table, columns: Iterable[str], returning: Sequence[str]) -> Executable:
    values = {name: _value(table.c[name]) for name in columns}
    values["tenant_id"] = bindparam("tenant_id", type_=Uuid())
    return insert(table).values(values).returning(*(table.c[name] for name in returning))


def update_row(
    table: Table, columns: Iterable[str], returning: Sequence[str], *, versioned: bool
) -> Executable:
    """Set `columns` of a live row where that changes something; no row comes back otherwise."""
    names = tuple(columns)
    changes = or_(*(table.c[n].is_distinct_from(_value(table.c[n])) for n in names))
    return (
        _edited(table, versioned=versioned, returning=returning)
        .where(*_live(table), changes)
        .values({name: _value(table.c[name]) for name in names})
    )


def soft_delete_row(table: Table, returning: Sequence[str], *, versioned: bool) -> Executable:
    return (
        _edited(table, versioned=versioned, returning=returning)
        .where(*_live(table))
        .values(deleted_at=func.now(), deleted_by=bindparam("actor"))
    )


def restore_row(table: Table, returning: Sequence[str]) -> Executable:
    return (
        _edited(table, versioned=False, returning=returning)
        .where(table.c.deleted_at.is_not(None))
        .values(deleted_at=None, deleted_by=None)
    )


def purge_row(table: Table, *, versioned: bool) -> Executable:
    gone = delete(table).where(tenant_predicate(table), table.c.id == bindparam("id", type_=Uuid()))
    if versioned:
        gone = gone.where(table.c.version == bindparam("expected_version"))
    return gone.returning(table.c.id)


def _edited(table: Table, *, versioned: bool, returning: Sequence[str]) -> Update:
    edited = update(table).where(
        tenant_predicate(table), table.c.id == bindparam("id", type_=Uuid())
    )
    if versioned:
        edited = edited.where(table.c.version == bindparam("expected_version"))
    return edited.values(
        version=table.c.version + 1, updated_at=func.now(), updated_by=bindparam("actor")
    ).returning(*(table.c[name] for name in returning))


def _matching(
    chosen: Select[Any], table: Table, query: ListQuery, search: Sequence[str]
) -> Select[Any]:
    chosen = chosen.where(tenant_predicate(table))
    if "deleted_at" in table.c and query.deleted != "include":
        deleted = table.c.deleted_at
        chosen = chosen.where(
            deleted.is_(None) if query.deleted == "exclude" else deleted.is_not(None)
        )
    for number, condition in enumerate(query.conditions):
        chosen = chosen.where(condition_sql(table, condition, f"f{number}"))
    for number in range(len(query.words)):
        chosen = chosen.where(word_sql(table, search, f"w{number}"))
    return chosen


def _live(table: Table) -> tuple[ColumnElement[bool], ...]:
    """The condition of a lookup by id. Not `deleted_at IS NULL`: that would let the planner take
    the partial index of the natural key, which it prefers while the table is small and has no
    statistics, and a prepared plan would go on walking all live rows of a tenant that has grown."""
    return (func.num_nulls(table.c.deleted_at) == 1,) if "deleted_at" in table.c else ()


def _value(column: Column[Any]) -> ColumnElement[Any]:
    return bindparam(f"v_{column.name}", type_=column.type)
