"""What empties a tenant's tables, and what proves that nothing is left. The tables to empty are the
models'; the proof asks the catalogue, which also knows the tables that no model here declares."""

from collections.abc import Iterator

from sqlalchemy import (
    ARRAY,
    Column,
    ColumnElement,
    Executable,
    Integer,
    Table,
    Uuid,
    any_,
    bindparam,
    delete,
    exists,
    func,
    select,
)

from saas.db.audit import AuditLog
from saas.db.models import Base
from saas.db.rls import required_security
from saas.db.roles import APP
from saas.db.statements import tenant_predicate

# Every table with one of these columns, in whatever schema, declared or not. `tenants` itself has
# none: its row stays.
TABLES_WITH_A_TENANT = """
SELECT format('%I.%I', nspname, relname) AS relation, attname AS tenant_column,
       CASE nspname WHEN 'public' THEN '' ELSE nspname || '.' END || relname AS name
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace
JOIN pg_attribute AS a ON attrelid = c.oid
WHERE attname = ANY ($1) AND attnum > 0 AND NOT attisdropped
  AND relkind IN ('r', 'p', 'm', 'f') AND NOT relispartition
  AND nspname <> 'information_schema' AND nspname NOT LIKE 'pg\\_%'
ORDER BY name"""

COUNT_ROWS = "SELECT public.count_rows($1, $2) AS held"
PURGE_ROWS = "SELECT public.purge_rows($1, $2) AS gone"

# A role sees the transactions of its own sessions, on every node.
OLDER_TRANSACTIONS = """
SELECT count(*) AS still_running FROM pg_stat_activity
WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()
  AND xact_start < $1"""


def purge_order() -> Iterator[Table]:
    """Every declared table with rows of tenants, children before parents. The audit log comes last:
    what is deleted from the others is written there."""
    log = Base.metadata.tables[AuditLog.__tablename__]
    for table in reversed(Base.metadata.sorted_tables):
        if tenant_column(table) is not None and table is not log:
            yield table
    yield log


def tenant_column(table: Table) -> Column[object] | None:
    """The column that says whose a row is; None for a table that is to be kept."""
    if table.info.get("tenancy") == "tenant":
        return table.c.tenant_id
    name = table.info.get("tenant_column", "id")
    return None if name == "id" else table.c[name]


def tenant_columns() -> list[str]:
    """The names under which tables say whose a row is, the declared ones and the usual."""
    declared = (tenant_column(table) for table in purge_order())
    return sorted({"tenant_id", "tenant", *(c.name for c in declared if c is not None)})


def may_delete(table: Table) -> bool:
    """Whether the app's role may delete rows of it; of the others a function of the owner does."""
    required = required_security(table)
    granted = required.grants if required else ()
    return any((grant.role, grant.privilege) == (APP, "DELETE") for grant in granted)


def purge_batch(table: Table) -> Executable:
    """Delete up to `most` rows of the bound tenant, of which none keeps another from going."""
    (key,) = (column for column in table.primary_key if column is not tenant_column(table))
    chosen = (
        select(key).where(_own(table), *_is_leaf(table)).limit(bindparam("most", type_=Integer))
    )
    # An array, so that the limited choice is made once and not again for each row.
    ids = func.array(chosen.scalar_subquery(), type_=ARRAY(Uuid))
    return delete(table).where(_own(table), key == any_(ids)).returning(key)


def _own(table: Table) -> ColumnElement[bool]:
    if table.info.get("tenancy") == "tenant":
        return tenant_predicate(table)
    column: Column[object] = table.c[table.info["tenant_column"]]
    return column == bindparam("tenant_id", type_=Uuid())


def _is_leaf(table: Table) -> Iterator[ColumnElement[bool]]:
    """Where rows refer to rows of the same table, first those to which none refers."""
    for column in table.columns:
        if column.info.get("references") == table.name and column.info["on_delete"] == "RESTRICT":
            child = table.alias()
            refers = child.c[column.name] == table.c.id
            yield ~exists().where(child.c.tenant_id == table.c.tenant_id, refers)
