"""What the audit triggers write of statements by hand."""

from typing import Any
from uuid import uuid4

import psycopg
from sqlalchemy import select

from saas.db.audit import AUDIT_ENTRIES, AuditEntry
from saas.db.audit_parts import BYTES
from saas.db.statements import Statement

ACTOR = "key:0199d3a0-0000-7000-8000-000000000001"


_rows = AUDIT_ENTRIES.rows()
ENTRIES = Statement(
    select(*(_rows.c[name] for name in AuditEntry.__struct_fields__)).order_by(_rows.c.id)
).named


class Log:
    """A transaction that is bound to a tenant of its own and undone at the end, tables and all."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.run = connection.execute
        self.tenant = uuid4()
        self.run("SET LOCAL TimeZone = 'UTC'")
        self.run(f"SET LOCAL app.tenant_id = '{self.tenant}'")
        self.run(f"SET LOCAL app.actor = '{ACTOR}'")
        self.run("SET LOCAL app.request_id = 'request-1'; SET LOCAL app.ip = '::1'")

    def make_table(self, definition: str) -> None:
        self.run(f"CREATE TABLE things ({definition})")
        self.run(
            "CREATE TRIGGER audit_inserted AFTER INSERT ON things "
            "REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT "
            "EXECUTE FUNCTION audit_inserted('things')"
        )

    def insert(self, table: str, rows: int, /, **values: str) -> None:
        """`values` are SQL, in which n counts the rows."""
        given = {"tenant_id": f"'{self.tenant}'::uuid", **values}
        names, chosen = ", ".join(map(quoted, given)), ", ".join(given.values())
        self.run(
            f"INSERT INTO {table} ({names}) SELECT {chosen} FROM generate_series(1, {rows}) AS n"
        )

    def stored(self) -> list[dict[str, Any]]:
        """The entries in the order of their ids, those of sets too."""
        return self.run(ENTRIES.sql, ENTRIES.arguments({"tenant_id": self.tenant})).fetchall()

    def sets(self) -> list[dict[str, Any]]:
        return self.run(
            f"SELECT * FROM audit_sets WHERE tenant_id = '{self.tenant}' ORDER BY id"
        ).fetchall()

    def counted(self) -> list[dict[str, int]]:
        """What each statement has added to the tenant's usage."""
        return self.run(
            "SELECT created, live, bytes FROM usage_changes "
            f"WHERE tenant = '{self.tenant}' ORDER BY id"
        ).fetchall()

    def sizes(self, table: str) -> set[int]:
        """What is counted of a row, as `saas doctor --reconcile` counts it."""
        size = BYTES.format("record_send(r.*)")
        return {row["size"] for row in self.run(f"SELECT {size} AS size FROM {table} AS r")}

    def shown(self) -> list[AuditEntry]:
        return [AuditEntry(**entry) for entry in self.stored()]


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
