"""The one door to tenants' rows: get, list, create, update, delete, restore, purge, count.

Every statement carries the tenant of the context, and runs in the current transaction, whose
connection is bound to the same tenant by row-level security.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar
from uuid import UUID

import msgspec
from sqlalchemy import Table

from saas import context
from saas.db import statements
from saas.db.error_mapping import unknown_reference
from saas.db.filters import filter_shape_of, parameters, shape_of
from saas.db.keyset import window_of, with_sort_columns
from saas.db.models import PROTECTED, Base, TenantModel, TenantRow, add_natural_key, table_of
from saas.db.partial import shape_for
from saas.db.query import ListQuery, QueryGrammar
from saas.db.statements import ShapeCache, Statement
from saas.db.transaction import current_transaction
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


class TenantRepository(Generic[Model, Read]):
    """Rows of `model` in the bound tenant, read as `read` (whose fields name columns).

    `search` are the text columns behind `q`; `natural_key` is unique among live rows.
    Each method raises Unbound outside a tenant or transaction, and a SaasError for a refusal.
    """

    def __init__(
        self,
        model: type[Model],
        read: type[Read],
        *,
        search: Sequence[str] = (),
        natural_key: tuple[str, ...] = (),
    ) -> None:
        self.table: Table = table_of(model)
        self.read = read
        self.natural_key = natural_key
        self.writable = frozenset(self.table.c.keys()) - PROTECTED
        self.grammar = QueryGrammar(
            self.table, search=search, hidden=_masked(self.table), fields=read.__struct_fields__
        )
        self._columns = read.__struct_fields__
        self._search = tuple(search)
        self._shapes = ShapeCache()
        self._references = {
            c.name: c.info["references"] for c in self.table.c if "references" in c.info
        }
        if natural_key:
            if not issubclass(model, TenantModel):
                raise TypeError(f"{model.__name__}: a natural key needs a TenantModel")
            add_natural_key(model, natural_key)

    async def get(
        self, id: UUID, *, include_deleted: bool = False, fields: tuple[str, ...] = ()
    ) -> Read:
        """The live row; with `fields`, these of it alone. Raises NotFound for absent, deleted and
        another tenant's alike."""
        kind = shape_for(self.read, fields)
        statement = self._shapes.get(
            ("get", include_deleted, fields),
            lambda: statements.select_one(
                self.table, kind.columns, include_deleted=include_deleted
            ),
        )
        rows = await self._run(statement, {"id": id})
        if not rows:
            raise NotFound
        row: Read = kind.make(*rows[0])
        return row

    async def list(self, query: ListQuery | None = None) -> Page[Read]:
        """One page in the query's order, and where its neighbours begin."""
        query = query or ListQuery()
        kind = shape_for(self.read, query.fields)
        statement = self._shapes.get(
            ("list", shape_of(query)),
            lambda: statements.select_page(
                self.table, with_sort_columns(kind.columns, query), query, self._search
            ),
        )
        found = await self._run(statement, parameters(query))
        rows, next_after, prev_before = window_of(found, query)
        items = [kind.make(*row[: len(kind.columns)]) for row in rows]
        total = await self.count(query) if query.include_total or query.offset is not None else None
        return Page(items=items, next_after=next_after, prev_before=prev_before, total=total)

    async def count(self, query: ListQuery | None = None) -> int:
        """How many rows match, over all pages."""
        query = query or ListQuery()
        statement = self._shapes.get(
            ("count", filter_shape_of(query)),
            lambda: statements.count_matching(self.table, query, self._search),
        )
        rows = await self._run(statement, parameters(query))
        total: int = rows[0]["total"]
        return total

    async def create(self, values: Mapping[str, Any]) -> Read:
        """Insert a row of the bound tenant. Raises AlreadyExists where its natural key is taken,
        Invalid where a value or a reference is refused."""
        self._refuse_protected(values)
        await self._check_references(values)
        actor = context.principal().actor
        authors = {"created_by": actor, "updated_by": actor} if "version" in self.table.c else {}
        columns = (*values, *authors)
        row = await self._one(
            ("create", columns),
            lambda: statements.insert_row(self.table, columns, self._columns),
            _named({**values, **authors}),
        )
        if row is None:
            raise RuntimeError("INSERT … RETURNING gave no row")
        return row

    async def update(
        self, id: UUID, changes: Mapping[str, Any], *, version: int | None = None
    ) -> Read:
        """Change the given columns of a live row; one that already has these values keeps its
        version. Raises NotFound, or VersionConflict when `version` is not the present one."""
        self._refuse_protected(changes)
        if not changes:
            return await self._unchanged(id, version)
        await self._check_references(changes)
        columns = tuple(changes)
        row = await self._one(
            ("update", columns, version is None),
            lambda: statements.update_row(
                self.table, columns, self._columns, versioned=version is not None
            ),
            _named(changes) | self._edit(id, version),
        )
        return row if row is not None else await self._unchanged(id, version)

    async def delete(self, id: UUID, *, version: int | None = None) -> None:
        """Soft delete: the row leaves all lists and frees its natural key, and can be restored."""
        row = await self._one(
            ("delete", version is None),
            lambda: statements.soft_delete_row(
                self.table, self._columns, versioned=version is not None
            ),
            self._edit(id, version),
        )
        if row is None:
            await self._unchanged(id, version)
            raise NotFound

    async def restore(self, id: UUID, *, version: int | None = None) -> Read:
        """Bring a soft-deleted row back. Raises NotDeleted for a live one, AlreadyExists when its
        natural key is taken by now, ParentGone when a row that it refers to is deleted, and
        VersionConflict when `version` is not the present one."""
        present = await self.get(id, include_deleted=True)
        if version is not None and _version(present) != version:
            raise VersionConflict(_version(present))
        if _is_live(present):
            raise NotDeleted
        try:
            await self._check_references(
                {name: getattr(present, name) for name in self._references}
            )
        except Invalid:
            raise ParentGone from None
        row = await self._one(
            ("restore", version is None),
            lambda: statements.restore_row(
                self.table, self._columns, versioned=version is not None
            ),
            self._edit(id, version),
        )
        if row is None:
            # Another request was first; what it left decides.
            return await self.restore(id, version=version)
        return row

    async def purge(self, id: UUID, *, version: int | None = None) -> None:
        """Delete for good, deleted rows too; children go with it. The audit log keeps the row."""
        statement = self._shapes.get(
            ("purge", version is None),
            lambda: statements.purge_row(self.table, versioned=version is not None),
        )
        if not await self._run(statement, self._edit(id, version)):
            present = await self.get(id, include_deleted=True)
            raise VersionConflict(_version(present))

    async def _unchanged(self, id: UUID, version: int | None) -> Read:
        present = await self.get(id)
        current = _version(present)
        if version is not None and current != version:
            raise VersionConflict(current)
        return present

    async def _check_references(self, values: Mapping[str, Any]) -> None:
        # The foreign key refuses absent and foreign rows; deleted ones have to be looked up.
        for column, parent in self._references.items():
            id = values.get(column)
            if id is not None:
                await require_live(parent, id, column)

    async def _one(self, shape: tuple[Any, ...], build: Any, values: dict[str, Any]) -> Read | None:
        rows = await self._run(self._shapes.get(shape, build), values)
        return self.read(*rows[0]) if rows else None

    async def _run(self, statement: Statement, values: dict[str, Any]) -> Sequence[Any]:
        values["tenant_id"] = context.principal().tenant_id
        return await current_transaction().fetch(statement.sql, statement.arguments(values))

    def _edit(self, id: UUID, version: int | None) -> dict[str, Any]:
        return {"id": id, "expected_version": version, "actor": context.principal().actor}

    def _refuse_protected(self, values: Iterable[str]) -> None:
        refused = [name for name in values if name not in self.writable]
        if refused:
            raise Invalid(
                errors=[
                    FieldError(f"/{name}", "unknown_field", "It cannot be written.")
                    for name in refused
                ]
            )


_live_shapes = ShapeCache()


async def require_live(parent: str, id: UUID, column: str) -> None:
    """Raise Invalid with the pointer of `column` unless `id` is a live row of the tenant."""
    table = Base.metadata.tables[parent]
    statement = _live_shapes.get(parent, lambda: statements.select_live_ids(table))
    values = {"ids": [id], "tenant_id": context.principal().tenant_id}
    if not await current_transaction().fetch(statement.sql, statement.arguments(values)):
        raise unknown_reference(column)


def _version(row: msgspec.Struct) -> int:
    version: int = row.version  # type: ignore[attr-defined]  # every TenantModel's read has it
    return version


def _is_live(row: msgspec.Struct) -> bool:
    return row.deleted_at is None  # type: ignore[attr-defined]  # every TenantModel's read has it


def _named(values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"v_{name}": value for name, value in values.items()}


def _masked(table: Table) -> list[str]:
    return [column.name for column in table.columns if column.info.get("masked")]
