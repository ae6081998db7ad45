"""The operations on tenants' rows: get, list, create, update, delete, restore, purge, count.

Every statement carries the tenant of the context; the transaction that runs it is bound to the
same tenant by row-level security.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar
from uuid import UUID

import msgspec
from sqlalchemy import Executable, Table, Uuid, bindparam

from saas import context
from saas.db import statements
from saas.db.error_mapping import unknown_reference
from saas.db.filters import filter_shape_of, parameters, shape_of
from saas.db.keyset import window_of, with_sort_columns
from saas.db.models import PROTECTED, Base, TenantModel, TenantRow, add_natural_key, table_of
from saas.db.operation import Operation, Rows, Step
from saas.db.partial import shape_for
from saas.db.query import ListQuery, QueryGrammar
from saas.db.quotas import reserve_again, reserve_new
from saas.db.statements import ShapeCache, Statement
from saas.db.streams import Stream
from saas.db.value_types import ValueTypes
from saas.db.where import Query, as_query
from saas.errors import FieldError, Invalid, NotDeleted, NotFound, ParentGone, VersionConflict

Model = TypeVar("Model", bound=TenantRow)
Read = TypeVar("Read", bound=msgspec.Struct)


class Page(msgspec.Struct, Generic[Read], frozen=True, kw_only=True):
    """`next_after` and `prev_before` are the positions that the next page begins behind and the one
    before it ends before: a ListQuery's `after` and `before`. None where there is no such page.
    Of a query with `fields` the items have these alone."""

    items: list[Read]
    next_after: tuple[Any, ...] | None = None
    prev_before: tuple[Any, ...] | None = None
    total: int | None = None


class RowOperations(Generic[Model, Read]):
    """What the repositories do to the rows of `model`, read as `read`. A method runs nothing: it
    returns the Operation that a repository drives. Its promise stands at the repository's method
    of the same name."""

    def __init__(
        self,
        model: type[Model],
        read: type[Read],
        *,
        search: Sequence[str] = (),
        natural_key: tuple[str, ...] = (),
        hidden: Sequence[str] = (),
    ) -> None:
        self.table: Table = table_of(model)
        self._source = model.__source__
        self.read = read
        self.natural_key = natural_key
        generated = {column.name for column in self.table.columns if column.computed is not None}
        self.writable = frozenset(self.table.c.keys()) - PROTECTED - generated
        self.grammar = QueryGrammar(
            self.table,
            search=search,
            hidden=(*_masked(self.table), *hidden),
            fields=read.__struct_fields__,
        )
        self.columns = read.__struct_fields__
        self._types = ValueTypes(self.table)
        self.references: dict[str, str] = {
            c.name: c.info["references"] for c in self.table.c if "references" in c.info
        }
        self._search = tuple(search)
        self._shapes = ShapeCache()
        if natural_key:
            if not issubclass(model, TenantModel):
                raise TypeError(f"{model.__name__}: a natural key needs a TenantModel")
            add_natural_key(model, natural_key)

    def get(
        self, id: UUID, *, include_deleted: bool = False, fields: tuple[str, ...] = ()
    ) -> Operation[Read]:
        kind = shape_for(self.read, fields)
        rows = yield from self.run(
            ("get", include_deleted, fields),
            lambda: statements.select_one(
                self._source.row(bindparam("id", type_=Uuid())) if self._source else self.table,
                kind.columns,
                include_deleted=include_deleted,
            ),
            {"id": id},
        )
        if not rows:
            raise NotFound
        row: Read = kind.make(*rows[0])
        return row

    def list(self, query: Query = None) -> Operation[Page[Read]]:
        query = as_query(query, self.grammar)
        kind = shape_for(self.read, query.fields)
        columns = with_sort_columns(kind.columns, query)
        found = yield from self.run(
            ("list", shape_of(query)),
            lambda: statements.select_page(self._rows(query), columns, query, self._search),
            parameters(query),
        )
        rows, next_after, prev_before = window_of(found, query, columns)
        items = [kind.make(*row[: len(kind.columns)]) for row in rows]
        total = None
        if query.include_total or query.offset is not None:
            total = yield from self.count(query)
        return Page(items=items, next_after=next_after, prev_before=prev_before, total=total)

    def count(self, query: Query = None) -> Operation[int]:
        query = as_query(query, self.grammar)
        rows = yield from self.run(
            ("count", filter_shape_of(query)),
            lambda: (
                self._source.count(query)
                if self._source
                else statements.count_matching(self.table, query, self._search)
            ),
            parameters(query),
        )
        total: int = rows[0][0]
        return total

    def _rows(self, query: ListQuery | None = None) -> Any:
        return self._source.rows(query) if self._source else self.table

    def open_stream(self, query: Query, number: int) -> Operation[Stream]:
        """Declare a cursor over every row of the query; its limit and place do not count."""
        everything = msgspec.structs.replace(
            as_query(query, self.grammar), after=None, before=None, offset=None, limit=0
        )
        fields = everything.fields
        columns = shape_for(self.read, fields).columns
        stream = Stream(self.table.name, columns, number, fields)
        yield from self.run(
            ("stream", stream.name, shape_of(everything)),
            lambda: stream.declare(
                statements.select_all(self._rows(), columns, everything, self._search)
            ),
            parameters(everything),
        )
        return stream

    def fetch_stream(self, stream: Stream, batch: int) -> Operation[Sequence[Read]]:
        if batch < 1:
            raise ValueError(f"batch={batch}: at least one row at a time")
        rows = yield from self.run(("fetch", stream.name, batch), lambda: stream.fetch(batch), {})
        make = shape_for(self.read, stream.fields).make
        return [make(*row) for row in rows]

    def close_stream(self, stream: Stream) -> Operation[None]:
        yield from self.run(("close", stream.name), stream.close, {})

    def create(self, values: Mapping[str, Any]) -> Operation[Read]:
        self.refuse_unwritable(values)
        yield from self.check_references(values)
        yield from reserve_new(self.table, self.natural_key, values)
        actor = context.principal().actor
        authors = {"created_by": actor, "updated_by": actor} if "version" in self.table.c else {}
        columns = (*values, *authors)
        row = yield from self._one(
            ("create", columns),
            lambda: statements.insert_row(self.table, columns, self.columns),
            _named({**values, **authors}),
        )
        if row is None:
            raise RuntimeError("INSERT … RETURNING gave no row")
        return row

    def update(
        self, id: UUID, changes: Mapping[str, Any], *, version: int | None = None
    ) -> Operation[Read]:
        self.refuse_unwritable(changes)
        if not changes:
            return (yield from self._unchanged(id, version))
        yield from self._check_new_references(id, changes)
        columns = tuple(changes)
        row = yield from self._one(
            ("update", columns, version is None),
            lambda: statements.update_row(
                self.table, columns, self.columns, versioned=version is not None
            ),
            _named(changes) | self._edit(id, version),
        )
        return row if row is not None else (yield from self._unchanged(id, version))

    def delete(self, id: UUID, *, version: int | None = None) -> Operation[None]:
        row = yield from self._one(
            ("delete", version is None),
            lambda: statements.soft_delete_row(
                self.table, self.columns, versioned=version is not None
            ),
            self._edit(id, version),
        )
        if row is None:
            yield from self._unchanged(id, version)
            raise NotFound

    def restore(self, id: UUID, *, version: int | None = None) -> Operation[Read]:
        present = yield from self.get(id, include_deleted=True)
        if version is not None and _version(present) != version:
            raise VersionConflict(_version(present))
        if _is_live(present):
            raise NotDeleted
        try:
            yield from self.check_references(
                {name: getattr(present, name) for name in self.references}
            )
        except Invalid as refusal:
            raise ParentGone(errors=refusal.errors) from None
        yield from reserve_again(self.table, id)
        row = yield from self._one(
            ("restore", version is None),
            lambda: statements.restore_row(self.table, self.columns, versioned=version is not None),
            self._edit(id, version),
        )
        if row is None:
            # Another request was first; what it left decides.
            return (yield from self.restore(id, version=version))
        return row

    def purge(self, id: UUID, *, version: int | None = None) -> Operation[None]:
        statement = self._shapes.get(
            ("purge", version is None),
            lambda: statements.purge_row(self.table, versioned=version is not None),
        )
        if not (yield from run(statement, self._edit(id, version))):
            present = yield from self.get(id, include_deleted=True)
            raise VersionConflict(_version(present))

    def check_references(self, values: Mapping[str, Any]) -> Operation[None]:
        """Raise Invalid for each reference to a deleted row; the foreign key refuses absent and
        foreign ones, but for it a deleted row is there."""
        dangling = []
        for column, parent in self.references.items():
            id = values.get(column)
            if id is not None and not (yield from live_ids(parent, [id])):
                dangling.append(column)
        if dangling:
            raise unknown_reference(*dangling)

    def _check_new_references(self, id: UUID, changes: Mapping[str, Any]) -> Operation[None]:
        """A row keeps the parent that it has, even one that is deleted by now."""
        try:
            yield from self.check_references(changes)
        except Invalid:
            present = yield from self.get(id)
            kept = {c for c in self.references if changes.get(c) == getattr(present, c, None)}
            yield from self.check_references({c: changes[c] for c in changes if c not in kept})

    def refuse_unwritable(self, *rows: Mapping[str, Any]) -> None:
        """Raise Invalid for fields that cannot be written and for values of another type than their
        columns. The rows have the same fields."""
        faults = []
        for name in rows[0]:
            if name not in self.writable:
                faults.append(FieldError(f"/{name}", "unknown_field", "It cannot be written."))
            elif fault := self._types.fault(name, {type(row[name]) for row in rows}):
                faults.append(fault)
        if faults:
            raise Invalid(errors=faults)

    def _unchanged(self, id: UUID, version: int | None) -> Operation[Read]:
        present = yield from self.get(id)
        current = _version(present)
        if version is not None and current != version:
            raise VersionConflict(current)
        return present

    def run(
        self, shape: tuple[Any, ...], build: Callable[[], Executable], values: dict[str, Any]
    ) -> Operation[Rows]:
        """Run the statement of `shape`, which `build` makes the first time."""
        return (yield from run(self._shapes.get(shape, build), values))

    def _one(
        self, shape: tuple[Any, ...], build: Callable[[], Executable], values: dict[str, Any]
    ) -> Operation[Read | None]:
        rows = yield from self.run(shape, build, values)
        return self.read(*rows[0]) if rows else None

    def _edit(self, id: UUID, version: int | None) -> dict[str, Any]:
        return {"id": id, "expected_version": version, "actor": context.principal().actor}


_live_shapes = ShapeCache()


def live_ids(parent: str, ids: Sequence[UUID]) -> Operation[set[UUID]]:
    """Those of `ids` that are live rows of the tenant, and stay so until the transaction ends."""
    table = Base.metadata.tables[parent]
    statement = _live_shapes.get(parent, lambda: statements.select_live_ids(table))
    rows = yield from run(statement, {"ids": ids})
    return {row[0] for row in rows}


def run(statement: Statement, values: dict[str, Any]) -> Operation[Rows]:
    """One statement of the bound tenant. Raises Unbound without one."""
    values["tenant_id"] = context.principal().tenant_id
    return (yield Step(statement, values))


def _version(row: msgspec.Struct) -> int:
    version: int = row.version  # type: ignore[attr-defined]  # every TenantModel's read has it
    return version


def _is_live(row: msgspec.Struct) -> bool:
    return row.deleted_at is None  # type: ignore[attr-defined]  # every TenantModel's read has it


def _named(values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"v_{name}": value for name, value in values.items()}


def _masked(table: Table) -> list[str]:
    return [column.name for column in table.columns if column.info.get("masked")]
