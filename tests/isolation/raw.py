"""The database itself, in plain SQL as one of its roles: the product's own code takes no part."""

import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb
from sqlalchemy import JSON, CheckConstraint, Column, String, Table

from isolation.bodies import body_of, text_for
from isolation.surface import RESOURCE_BY_NAME
from saas.db.models import tenant_tables
from saas.db.roles import MIGRATOR, OWNER, PLATFORM
from saas.dev.postgres import EmbeddedPostgres

Connection = psycopg.Connection[tuple[Any, ...]]
Statement = str | sql.Composable


class Raw(NamedTuple):
    """One database. Every block is one transaction, undone at its end unless `keep` is set."""

    postgres: EmbeddedPostgres
    database: str
    migrator: Connection

    @contextmanager
    def acting_as(self, role: str, tenant: str | UUID | None = None) -> Iterator[Connection]:
        """A new connection of `role`, bound to `tenant` as the product binds it."""
        with psycopg.connect(self.postgres.dsn(role, self.database)) as connection:
            if tenant is not None:
                bind(connection, tenant)
            yield connection
            connection.rollback()

    @contextmanager
    def owner_in(self, tenant: str | UUID, *, keep: bool = False) -> Iterator[Connection]:
        """The owner of the tables, who is bound by row-level security as well: it writes rows
        that the product has no route for, and tells what is there."""
        with self.migrator.transaction(force_rollback=not keep):
            self.migrator.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(OWNER)))
            self.migrator.execute("SET LOCAL row_security = on")
            bind(self.migrator, tenant)
            yield self.migrator


@contextmanager
def raw_database(postgres: EmbeddedPostgres, database: str) -> Iterator[Raw]:
    with psycopg.connect(postgres.dsn(MIGRATOR, database), autocommit=True) as migrator:
        yield Raw(postgres, database, migrator)


def bind(connection: Connection, tenant: str | UUID) -> None:
    connection.execute(sql.SQL("SET LOCAL app.tenant_id = {}").format(sql.Literal(str(tenant))))


def refusal(
    connection: Connection, statement: Statement, values: Mapping[str, Any] | None = None
) -> str | None:
    """The SQLSTATE with which PostgreSQL refuses `statement`; None where it does not. What it did
    is undone."""
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(statement, values)  # type: ignore[call-overload]
    except psycopg.Error as error:
        return error.sqlstate or type(error).__name__
    return None


def affected(
    connection: Connection, statement: Statement, values: Mapping[str, Any] | None = None
) -> int:
    """How many rows `statement` finds or changes; the change is undone."""
    with connection.transaction(force_rollback=True):
        return connection.execute(statement, values).rowcount  # type: ignore[call-overload]


def insert(table: Table, values: Mapping[str, Any]) -> sql.Composed:
    return sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        sql.Identifier(table.name),
        sql.SQL(", ").join(map(sql.Identifier, values)),
        sql.SQL(", ").join(map(sql.Placeholder, values)),
    )


def new_row(table: Table, tenant: str | UUID, parents: Mapping[str, Any]) -> dict[str, Any]:
    """Values for a row of `tenant`, made from what its resource takes, else from the types and
    checks of the columns; `parents` maps a table to the id of a row in it."""
    values: dict[str, Any] = {"tenant_id": UUID(str(tenant)), "id": uuid4()}
    resource = RESOURCE_BY_NAME.get(table.name)
    if resource is not None:
        body = body_of(resource.create, "raw", {}, {})
        values |= {
            name: Jsonb(value) if isinstance(value, dict | list) else value
            for name, value in body.items()
        }
    for column in table.columns:
        parent = column.info.get("references")
        if parent is not None:
            values[column.name] = parents[parent]
        elif column.name not in values and not column.nullable and column.server_default is None:
            values[column.name] = _value(table, column)
    return values


def fill(raw: Raw, tenant: str | UUID, *, leaving_out: frozenset[str] = frozenset()) -> None:
    """Add a row of `tenant` to every table but those named and those that triggers fill; and a set
    of the log, for which a trigger would want fifty rows."""
    with raw.owner_in(tenant, keep=True) as connection:
        for table in tenant_tables():
            if table.name not in leaving_out and not is_filled_by_triggers(table):
                values = new_row(table, tenant, _parents(connection, table))
                connection.execute(insert(table, values), values)
        id = uuid4()
        connection.execute(
            """INSERT INTO audit_sets
                (tenant_id, at, actor, entity, size, first_id, last_id, ids, columns)
            VALUES (%s, now(), 'system', 'raw', 1, %s, %s, %s, %s)""",
            [tenant, id, id, [id], Jsonb({"name": ["raw"]})],
        )


def use(raw: Raw, tenant: str | UUID, route: str) -> None:
    """Count a request of `tenant` on `route`, as the platform writes what it has counted."""
    dsn = raw.postgres.dsn(PLATFORM, raw.database)
    with psycopg.connect(dsn) as connection:
        connection.execute(
            """INSERT INTO usage_requests VALUES
            (%s, date_trunc('minute', now()), 1, %s, 2, 'key', 1, 1, 1, '{3}', '{1}')""",
            [str(tenant), route],
        )
        connection.execute(
            """INSERT INTO usage_days AS d VALUES (%s, (now() AT TIME ZONE 'UTC')::date, 1, 0, 1, 1)
            ON CONFLICT (tenant, day) DO UPDATE SET requests = d.requests + 1,
              bytes_in = d.bytes_in + 1, bytes_out = d.bytes_out + 1""",
            [str(tenant)],
        )


def empty(raw: Raw, tenant: str | UUID) -> None:
    """Take every row of `tenant` away, and what was logged of it."""
    children_first = tenant_tables()[::-1]
    with raw.owner_in(tenant, keep=True) as connection:
        for table in sorted(children_first, key=is_filled_by_triggers):
            connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table.name)))


def is_filled_by_triggers(table: Table) -> bool:
    """No role may insert into it, so its rows come from changes of other tables."""
    return "INSERT" not in (*app_privileges(table), *table.info.get("platform", ()))


def app_privileges(table: Table) -> tuple[str, ...]:
    default = ("SELECT", "INSERT", "UPDATE", "DELETE")
    privileges: tuple[str, ...] = table.info.get("app", default)
    return privileges


def ids_of(raw: Raw, tenant: str | UUID) -> dict[str, list[str]]:
    """The ids of every row of `tenant`, by table, the oldest first."""
    with raw.owner_in(tenant) as connection:
        return {table.name: _ids(connection, table.name) for table in tenant_tables()}


def rows_of(raw: Raw, tenant: str | UUID) -> dict[str, list[str]]:
    """All that `tenant` has, as text: what an attack must not change."""
    statement = "SELECT to_jsonb(t) - 'last_used_at' FROM {} AS t WHERE tenant_id = %s ORDER BY id"
    with raw.owner_in(tenant) as connection:
        return {
            table.name: [
                str(row[0])
                for row in connection.execute(
                    sql.SQL(statement).format(sql.Identifier(table.name)), [str(tenant)]
                )
            ]
            for table in tenant_tables()
        }


def _parents(connection: Connection, table: Table) -> dict[str, str]:
    named = {c.info["references"] for c in table.columns if "references" in c.info}
    return {parent: _ids(connection, parent)[0] for parent in named}


def _ids(connection: Connection, table: str) -> list[str]:
    found = connection.execute(
        sql.SQL(
            "SELECT id FROM {} WHERE tenant_id = current_setting('app.tenant_id')::uuid ORDER BY id"
        ).format(sql.Identifier(table))
    )
    return [str(row[0]) for row in found]


def _value(table: Table, column: Column[Any]) -> Any:
    checks = [str(c.sqltext) for c in table.constraints if isinstance(c, CheckConstraint)]
    for check in checks:
        listed = check.partition(f"{column.name} IN (")[2]
        if listed:
            return listed.partition("'")[2].partition("'")[0]
    if isinstance(column.type, JSON):
        return Jsonb({})
    if isinstance(column.type, String):
        patterns = [check.partition(f"{column.name} ~ '")[2].partition("'")[0] for check in checks]
        pattern = next(filter(None, patterns), None)
        return text_for("raw", most=column.type.length, pattern=pattern)
    if column.type.python_type not in _MAKERS:
        raise LookupError(f"no value is known for {table.name}.{column.name}: add one here")
    return _MAKERS[column.type.python_type]()


_MAKERS: Mapping[type, Any] = {
    UUID: uuid4,
    # Never the same twice: it may be unique.
    int: itertools.count(1).__next__,
    float: lambda: 1.0,
    bool: lambda: True,
    bytes: lambda: b"raw",
    date: lambda: date(2027, 1, 31),
    datetime: lambda: datetime(2027, 1, 31, tzinfo=UTC),
}
