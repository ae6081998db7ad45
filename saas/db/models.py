"""The bases of every table: what a tenant's row is. No queries here."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, ClassVar, Literal, Protocol
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    DateTime,
    Executable,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedColumn, declared_attr, mapped_column

# At most 50 characters a name: Citus hashes longer ones, and errors are mapped by these names.
NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

# Columns that the database or the repository fills; a caller can never write them.
PROTECTED = frozenset(
    {
        "tenant_id",
        "id",
        "version",
        "created_at",
        "created_by",
        "updated_at",
        "updated_by",
        "deleted_at",
        "deleted_by",
    }
)

# What a column holds that an import under new ids must change with them (`saas/portability`): the
# id of any row of the tenant, or an actor, `member:<id>` and `key:<id>`. References need no note.
HOLDS_ID = {"holds": "id"}
HOLDS_ACTOR = {"holds": "actor"}

Portable = Literal["always", "same_ids", "never"]


class Base(DeclarativeBase):
    """The registry of all tables. `info["tenancy"]` says of each: tenant | control."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        int: BigInteger,
        str: Text,
    }


class Source(Protocol):
    """What the rows of a model are read from, with the columns of its table: `rows` has what a page
    of the query may show or, without a query, all; `row` the one with this id."""

    def rows(self, query: Any = None) -> Any: ...

    def row(self, id: Any) -> Any: ...

    def count(self, query: Any) -> Executable: ...


class TenantRow(Base):
    """An append-only row of one tenant. The key starts with the tenant, so that no index, foreign
    key or conflict can tell one tenant of another's rows, and the tables can be sharded."""

    __abstract__ = True
    __source__: ClassVar[Source | None] = None
    """What its rows are read from, where that is not its table."""

    tenant_id: Mapped[UUID] = mapped_column(Uuid, nullable=False, sort_order=-20)
    id: Mapped[UUID] = mapped_column(
        Uuid, nullable=False, server_default=text("uuidv7()"), sort_order=-19
    )

    def __init_subclass__(cls, **options: Any) -> None:
        if not cls.__dict__.get("__abstract__", False):
            cls.__table_args__ = (
                *_plain_table_args(cls),
                PrimaryKeyConstraint("tenant_id", "id"),
                *_tenant_indexes(cls),
                *_tenant_foreign_keys(cls),
                {"info": {"tenancy": "tenant", **cls.__dict__.get("__security__", {})}},
            )
        super().__init_subclass__(**options)
        if not cls.__dict__.get("__abstract__", False):
            _refuse_virtual_columns(table_of(cls))


class TenantModel(TenantRow):
    """A row that people edit: authors, times, a version for optimistic locking, soft delete."""

    __abstract__ = True

    version: Mapped[int] = mapped_column(Integer, server_default=text("1"), sort_order=900)
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"), sort_order=901)
    created_by: Mapped[str] = mapped_column(sort_order=902, info=HOLDS_ACTOR)
    updated_at: Mapped[datetime] = mapped_column(server_default=text("now()"), sort_order=903)
    updated_by: Mapped[str] = mapped_column(sort_order=904, info=HOLDS_ACTOR)
    deleted_at: Mapped[datetime | None] = mapped_column(sort_order=905)
    deleted_by: Mapped[str | None] = mapped_column(sort_order=906, info=HOLDS_ACTOR)

    @declared_attr.directive
    def __mapper_args__(cls) -> dict[str, Any]:
        # For ORM sessions: UPDATE … WHERE version = <the one that was read>, and what the server
        # fills in comes back at once, because an async session cannot fetch it later.
        return {"version_id_col": cls.version, "eager_defaults": True}


def security(
    *,
    app: tuple[str, ...] = ("SELECT", "INSERT", "UPDATE", "DELETE"),
    platform: tuple[str, ...] = (),
    audited: bool = True,
    portable: Portable = "always",
) -> dict[str, Any]:
    """A table's own grants, as its `__security__`, where the defaults are not right. `app` and
    `platform` are the privileges of the two roles; UPDATE never covers tenant, id or creation.

    `portable` says whether the rows go into a tenant's archive: `never` what means something in one
    installation alone, `same_ids` what means something under the tenant's own id alone, and so is
    left out where an import gives new ids."""
    return {"app": app, "platform": platform, "audited": audited, "portable": portable}


def reference(
    parent: str, *, on_delete: str = "CASCADE", nullable: bool = False
) -> MappedColumn[Any]:
    """A column that refers to a row of the table `parent` in the same tenant, by a composite key
    `(tenant_id, <column>)`: a row of another tenant cannot even be named. `SET NULL` is refused,
    because it would clear the tenant too."""
    if on_delete not in {"CASCADE", "RESTRICT"}:
        raise ValueError(f"on_delete={on_delete!r}: use CASCADE or RESTRICT")
    info = {"references": parent, "on_delete": on_delete}
    return mapped_column(Uuid, nullable=nullable, info=info)


def add_natural_key(model: type[TenantModel], columns: tuple[str, ...]) -> None:
    """Make `columns` unique among the live rows of a tenant; deleted rows free their key."""
    table = table_of(model)
    if not set(columns) <= set(table.c.keys()):
        raise TypeError(f"{model.__name__}: natural_key={columns!r} is no tuple of its columns")
    name = f"uq_{table.name}_{'_'.join(columns)}_live"
    if name not in {index.name for index in table.indexes}:
        parts = [table.c[column] for column in ("tenant_id", *columns)]
        Index(name, *parts, unique=True, postgresql_where=table.c.deleted_at.is_(None))


def table_of(model: type[Base]) -> Table:
    table = model.__table__
    if not isinstance(table, Table):
        raise TypeError(f"{model.__name__} is not mapped to a table")
    return table


def tenant_tables() -> list[Table]:
    """Every table whose rows belong to a tenant, parents before children."""
    tables = Base.metadata.sorted_tables
    return [table for table in tables if table.info.get("tenancy") == "tenant"]


def _refuse_virtual_columns(table: Table) -> None:
    for column in table.columns:
        if column.computed is not None and not column.computed.persisted:
            table.metadata.remove(table)
            # No trigger sees its value, so the log and the usage would be without it.
            raise TypeError(f"{table.name}.{column.name}: give Computed(…, persisted=True)")


def _plain_table_args(cls: type[TenantRow]) -> tuple[Any, ...]:
    own = cls.__dict__.get("__table_args__", ())
    if isinstance(own, dict) or (own and isinstance(own[-1], dict)):
        raise TypeError(f"{cls.__name__}: give table info as __security__, not in __table_args__")
    return tuple(own)


def _tenant_indexes(cls: type[TenantRow]) -> Iterator[Index]:
    if issubclass(cls, TenantModel):
        # The default order of lists. Every index starts with the tenant.
        yield Index(f"ix_{cls.__tablename__}_created", "tenant_id", "created_at", "id")
    for name in _references(cls):
        yield Index(f"ix_{cls.__tablename__}_{name}", "tenant_id", name)


def _tenant_foreign_keys(cls: type[TenantRow]) -> Iterator[ForeignKeyConstraint]:
    for name, info in _references(cls).items():
        parent = info["references"]
        yield ForeignKeyConstraint(
            ["tenant_id", name],
            [f"{parent}.tenant_id", f"{parent}.id"],
            name=f"fk_{cls.__tablename__}_{name}",
            ondelete=info["on_delete"],
            # Whoever brings many rows at once may bring a child before its parent.
            deferrable=True if parent == cls.__tablename__ else None,
        )


def _references(cls: type[TenantRow]) -> dict[str, dict[str, str]]:
    return {
        name: attribute.column.info
        for base in cls.__mro__
        for name, attribute in vars(base).items()
        if isinstance(attribute, MappedColumn) and "references" in attribute.column.info
    }
