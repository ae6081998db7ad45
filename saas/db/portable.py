"""What of a tenant goes into an archive, and the SQL that reads it. Found in the models,
so that a new resource needs no word here.

A row travels as the JSON text that PostgreSQL makes of it and reads again, so every type that it
has comes back as it was. What restores a whole tenant is in `restore_functions.py`, what adds
to one that is here in `merge_statements.py`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    JSON,
    Column,
    Executable,
    Select,
    Table,
    Text,
    Uuid,
    bindparam,
    cast,
    column,
    func,
    literal_column,
    select,
    true,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import insert

from saas.db.audit import AUDIT_ENTRIES, AuditLog
from saas.db.models import table_of, tenant_tables
from saas.db.restore_functions import IMPORTED
from saas.db.statements import tenant_predicate

AUDIT_LOG = table_of(AuditLog)

CANONICAL = (
    "SET LOCAL TimeZone = 'UTC'",
    "SET LOCAL IntervalStyle = 'iso_8601'",
    "SET LOCAL bytea_output = 'hex'",
    "SET LOCAL extra_float_digits = 1",
)
"""Settings of a transaction under which equal rows are equal texts, whatever the server has."""

# SQLAlchemy leaves its dialects without types.
_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]
# With a star, for a column may have the name of the row.
_LINE = cast(func.row_to_json(literal_column("portable.*")), Text).label("line")


class PortableTable(NamedTuple):
    """A table whose rows go into archives. `columns` are those that an archive holds: all but the
    tenant, whom the archive names once, and what PostgreSQL computes."""

    table: Table
    columns: tuple[Column[Any], ...]

    @property
    def name(self) -> str:
        # SQLAlchemy's own kind of text, which is no `str` to others.
        return str(self.table.name)

    @property
    def needs_same_ids(self) -> bool:
        return self.table.info.get("portable") == "same_ids"

    @property
    def is_log(self) -> bool:
        return self.table is AUDIT_LOG


def portable_tables() -> list[PortableTable]:
    """Parents before children, the audit log with the others."""
    return [
        PortableTable(table, tuple(c for c in table.columns if _is_portable(c)))
        for table in tenant_tables()
        if table.info.get("portable", "always") != "never"
    ]


def type_of(column: Column[Any]) -> str:
    """The type as PostgreSQL calls it, without its length: a longer text is no other type."""
    name: str = column.type.compile(_DIALECT)
    return name.partition("(")[0]


def may_be_absent(column: Column[Any]) -> bool:
    """Whether an archive that was made before this column was added can do without."""
    return column.nullable or column.server_default is not None


def select_lines(portable: PortableTable) -> Select[Any]:
    """Every row as a line of JSON, by id. The log's own entries of imports are told apart: they
    are about the installation that the tenant came to, and a moved log must equal the first."""
    if not portable.is_log:
        return _as_lines(select(*portable.columns).where(tenant_predicate(portable.table)))
    entries, order = AUDIT_ENTRIES.in_order()
    columns = (entries.c[column.name] for column in portable.columns)
    shown = select(*columns).correlate(entries).lateral("portable")
    lines = select(_LINE).select_from(entries.join(shown, true()))
    return lines.where(entries.c.action != IMPORTED).order_by(*order)


def select_imports() -> Select[Any]:
    """The log's entries of imports, as lines."""
    columns = (c for c in AUDIT_LOG.columns if _is_portable(c))
    return _as_lines(
        select(*columns).where(tenant_predicate(AUDIT_LOG), AUDIT_LOG.c.action == IMPORTED)
    )


def own_columns(table: Table) -> list[Column[Any]]:
    """The columns of a control table that an archive holds of the tenant's own row."""
    return [column for column in table.columns if column.info.get("portable") != "never"]


def select_own_row(table: Table) -> Select[Any]:
    """The bound tenant's row of a control table, as a line."""
    own = table.c[table.info["tenant_column"]] == bindparam("tenant_id", type_=Uuid())
    return _as_lines(select(*own_columns(table)).where(own))


def insert_own_row(table: Table, columns: Sequence[str]) -> Executable:
    """Insert the row of `line`, a JSON object, into a control table."""
    typed = [column(name, table.c[name].type) for name in columns]
    record = func.json_to_record(cast(bindparam("line", type_=Text()), JSON)).table_valued(*typed)
    given = record.render_derived(name="given", with_types=True)
    rows = select(*(given.c[name] for name in columns))
    return insert(table).from_select(list(columns), rows, include_defaults=False)


def _as_lines(rows: Select[Any]) -> Select[Any]:
    own = rows.subquery("portable")
    return select(_LINE).select_from(own).order_by(own.c.id)


def _is_portable(column: Column[Any]) -> bool:
    return column.name != "tenant_id" and column.computed is None
