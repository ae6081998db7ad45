"""The SQL that the repository runs: Core statements, each shape compiled once.

`tenant_predicate` is the first lock: every statement on a tenant table is built by one of the
functions below, and each of them applies it. The literal predicate is also what the index and
shard pruning work with; row-level security alone would do neither.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

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
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import asyncpg as asyncpg_dialect

from saas.db.filters import matching, paged
from saas.db.keyset import keyset
from saas.db.named_statement import NamedStatement
from saas.db.query import ListQuery
from saas.db.storable_times import refuse_unstorable, times_among


class Statement:
    """SQL text with the order of its parameters; asyncpg keeps it prepared by its text. `named` is
    the same for psycopg."""

    __slots__ = ("_defaults", "_named", "_names", "_source", "_times", "sql")

    dialect: ClassVar[Any] = asyncpg_dialect.dialect()  # type: ignore[no-untyped-call]
    named_type: ClassVar[type[NamedStatement]] = NamedStatement

    def __init__(self, statement: Executable) -> None:
        compiled = statement.compile(  # type: ignore[attr-defined]
            dialect=self.dialect, compile_kwargs={"render_postcompile": True}
        )
        self.sql = str(compiled)
        self._names: tuple[str, ...] = tuple(compiled.positiontup or ())
        self._defaults: Mapping[str, Any] = compiled.params
        self._times = times_among(compiled.binds)
        self._source = statement
        self._named: NamedStatement | None = None

    def arguments(self, values: Mapping[str, Any]) -> list[Any]:
        """The values in the order of the parameters. Raises Invalid for a time that cannot be
        stored."""
        if self._times:
            refuse_unstorable(self._times, values)
        defaults = self._defaults
        return [values[name] if name in values else defaults[name] for name in self._names]

    @property
    def named(self) -> NamedStatement:
        """Compiled when a sync repository first asks; the async ones never pay for it."""
        if self._named is None:
            self._named = self.named_type(self._source)
        return self._named


class ShapeCache:
    """Remembers a Statement per shape; bounded, because callers choose the shapes."""

    def __init__(self, most: int = 500) -> None:
        self._statements: dict[Hashable, Statement] = {}
        self._most = most

    def get(self, shape: Hashable, build: Callable[[], Executable]) -> Statement:
        found = self._statements.pop(shape, None)
        if found is None:
            if len(self._statements) >= self._most:
                # The one unused longest, so that novel shapes do not push out the everyday ones.
                del self._statements[next(iter(self._statements))]
            found = Statement(build())
        self._statements[shape] = found
        return found


def tenant_predicate(table: Table) -> ColumnElement[bool]:
    """The first lock: only rows of the bound tenant, by a bound parameter."""
    return table.c.tenant_id == bindparam("tenant_id", type_=Uuid())


def select_one(table: Table, columns: Sequence[str], *, include_deleted: bool) -> Executable:
    chosen = select(*(table.c[name] for name in columns))
    chosen = chosen.where(tenant_predicate(table), table.c.id == bindparam("id", type_=Uuid()))
    return chosen if include_deleted else chosen.where(*live(table))


def select_live_ids(table: Table) -> Executable:
    """Those of the given ids that are live rows of the tenant, and stay so until the end of the
    transaction. FOR SHARE: a key lock would let a soft delete pass. In the order in which batches
    lock the rows that they change."""
    ids = bindparam("ids", type_=ARRAY(Uuid()))
    found = select(table.c.id).where(tenant_predicate(table), table.c.id == any_(ids))
    return found.where(*live(table)).order_by(table.c.id).with_for_update(read=True)


def select_page(
    table: Table, columns: Sequence[str], query: ListQuery, search: Sequence[str]
) -> Executable:
    chosen = select(*(table.c[name] for name in columns)).where(tenant_predicate(table))
    return paged(chosen, table, query, search)


def select_all(
    table: Table, columns: Sequence[str], query: ListQuery, search: Sequence[str]
) -> Select[Any]:
    """Every row of the query, which has no position, in its order: for a cursor."""
    chosen = select(*(table.c[name] for name in columns)).where(tenant_predicate(table))
    return keyset(matching(chosen, table, query, search), table, query)


def count_matching(table: Table, query: ListQuery, search: Sequence[str]) -> Executable:
    counted = select(func.count().label("total")).select_from(table)
    return matching(counted.where(tenant_predicate(table)), table, query, search)


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
        _edited_row(table, versioned=versioned, returning=returning)
        .where(*live(table), changes)
        .values({name: _value(table.c[name]) for name in names})
    )


def soft_delete_row(table: Table, returning: Sequence[str], *, versioned: bool) -> Executable:
    return (
        _edited_row(table, versioned=versioned, returning=returning)
        .where(*live(table))
        .values(deleted_at=func.now(), deleted_by=bindparam("actor"))
    )


def restore_row(table: Table, returning: Sequence[str], *, versioned: bool) -> Executable:
    return (
        _edited_row(table, versioned=versioned, returning=returning)
        .where(table.c.deleted_at.is_not(None))
        .values(deleted_at=None, deleted_by=None)
    )


def purge_row(table: Table, *, versioned: bool) -> Executable:
    gone = delete(table).where(tenant_predicate(table), table.c.id == bindparam("id", type_=Uuid()))
    if versioned:
        gone = gone.where(table.c.version == bindparam("expected_version"))
    return gone.returning(table.c.id)


def live(table: Table) -> tuple[ColumnElement[bool], ...]:
    """The condition of a lookup by id. Not `deleted_at IS NULL`: that would let the planner take
    the partial index of the natural key, which it prefers while the table is small and has no
    statistics, and a prepared plan would go on walking all live rows of a tenant that has grown."""
    return (func.num_nulls(table.c.deleted_at) == 1,) if "deleted_at" in table.c else ()


def edited(table: Table) -> Update:
    """An UPDATE that leaves its mark. Which rows it changes is the caller's to say."""
    return update(table).values(
        version=table.c.version + 1, updated_at=func.now(), updated_by=bindparam("actor")
    )


def _edited_row(table: Table, *, versioned: bool, returning: Sequence[str]) -> Update:
    one = edited(table).where(tenant_predicate(table), table.c.id == bindparam("id", type_=Uuid()))
    if versioned:
        one = one.where(table.c.version == bindparam("expected_version"))
    return one.returning(*(table.c[name] for name in returning))


def _value(column: Column[Any]) -> ColumnElement[Any]:
    return bindparam(f"v_{column.name}", type_=column.type)
