"""The second lock alone: plain SQL, as the app's role, against every table of a tenant.

Nothing of the product's code is between these statements and PostgreSQL; the tables come from the
metadata. Each refusal has its control: the same statement for the tenant's own row.
"""

import asyncio
from collections.abc import Iterator
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import asyncpg
import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Table

from isolation.conftest import NewTenant
from isolation.raw import (
    Connection,
    Raw,
    affected,
    app_privileges,
    bind,
    ids_of,
    insert,
    new_row,
    refusal,
)
from saas.db.audit_functions import AUDIT_FUNCTIONS
from saas.db.models import tenant_tables
from saas.db.rls import updatable_columns
from saas.db.roles import APP, PLATFORM

DENIED = "42501"  # insufficient_privilege: no grant, or a row that a policy refuses
TABLES = tenant_tables()

by_table = pytest.mark.parametrize("table", TABLES, ids=[table.name for table in TABLES])
by_privilege = {
    privilege: pytest.mark.parametrize(
        "table",
        chosen := [table for table in TABLES if privilege in app_privileges(table)],
        ids=[table.name for table in chosen],
    )
    for privilege in ("INSERT", "UPDATE", "DELETE")
}


class Tenant(NamedTuple):
    """A tenant with rows in every table; `parents` maps a table to the id of one of them."""

    id: UUID
    ids: dict[str, list[str]]

    @property
    def parents(self) -> dict[str, str]:
        return {table: rows[0] for table, rows in self.ids.items() if rows}


@pytest.fixture(scope="module")
def ours(raw: Raw, new_tenant: NewTenant) -> Tenant:
    return _filled(raw, new_tenant())


@pytest.fixture(scope="module")
def theirs(raw: Raw, new_tenant: NewTenant) -> Tenant:
    return _filled(raw, new_tenant())


@pytest.fixture
def bound(raw: Raw, ours: Tenant) -> Iterator[Connection]:
    """The app's role, bound to our tenant; what it does is undone."""
    with raw.acting_as(APP, ours.id) as connection:
        yield connection


@pytest.fixture
def unbound(raw: Raw) -> Iterator[Connection]:
    with raw.acting_as(APP) as connection:
        yield connection


def _filled(raw: Raw, id: UUID) -> Tenant:
    ids = ids_of(raw, id)
    assert all(ids.values()), f"a table without a row would prove nothing: {ids}"
    return Tenant(id, ids)


def on(statement: str, table: Table) -> sql.Composed:
    return sql.SQL(statement).format(sql.Identifier(table.name))


def key_of(tenant: Tenant, table: Table) -> dict[str, Any]:
    return {"tenant": tenant.id, "id": tenant.ids[table.name][0]}


@by_table
def test_only_rows_of_the_bound_tenant_are_visible(
    table: Table, bound: Connection, ours: Tenant, theirs: Tenant
) -> None:
    of_row = on("SELECT FROM {} WHERE tenant_id = %(tenant)s AND id = %(id)s", table)
    by_id = on("SELECT FROM {} WHERE id = %(id)s", table)

    assert affected(bound, of_row, key_of(ours, table)) == 1
    assert affected(bound, of_row, key_of(theirs, table)) == 0
    assert affected(bound, by_id, key_of(theirs, table)) == 0
    assert affected(bound, on("SELECT FROM {}", table)) == len(ours.ids[table.name])
    count = bound.execute(on("SELECT count(*), count(DISTINCT tenant_id) FROM {}", table))
    assert count.fetchone() == (len(ours.ids[table.name]), 1)


@by_table
def test_no_condition_is_tried_on_rows_of_another_tenant(
    table: Table, bound: Connection, ours: Tenant, theirs: Tenant
) -> None:
    # An error is as good as an answer, so the policy has to come before what may raise one.
    probe = on("SELECT FROM {} WHERE 1 / CASE WHEN id = %(id)s THEN 0 ELSE 1 END > 0", table)

    assert refusal(bound, probe, key_of(ours, table)) == "22012"
    assert refusal(bound, probe, key_of(theirs, table)) is None


@by_table
@pytest.mark.parametrize("setting", [None, ""])
def test_nothing_is_visible_or_written_without_a_tenant(
    table: Table, unbound: Connection, setting: str | None, ours: Tenant
) -> None:
    if setting is not None:
        # So it reads on a pooled connection, after a transaction that was bound.
        bind(unbound, setting)
    row = new_row(table, ours.id, ours.parents)

    assert affected(unbound, on("SELECT FROM {}", table)) == 0
    assert refusal(unbound, insert(table, row), row) == DENIED
    for privilege, change in (("UPDATE", _touch(table)), ("DELETE", on("DELETE FROM {}", table))):
        if privilege in app_privileges(table):
            assert affected(unbound, change) == 0
        else:
            assert refusal(unbound, change) == DENIED
    bind(unbound, ours.id)
    assert affected(unbound, on("SELECT FROM {}", table)) == len(ours.ids[table.name])


@by_table
def test_a_binding_that_is_no_tenant_is_an_error(table: Table, unbound: Connection) -> None:
    for nonsense in ("*", "0", "' OR true --", "00000000-0000-0000-0000-00000000000"):
        bind(unbound, nonsense)
        assert refusal(unbound, on("SELECT FROM {}", table)) == "22P02"


@by_privilege["INSERT"]
def test_a_row_cannot_be_put_into_another_tenant(
    table: Table, bound: Connection, ours: Tenant, theirs: Tenant
) -> None:
    own = new_row(table, ours.id, ours.parents)
    assert refusal(bound, insert(table, own), own) is None

    for parents in (ours.parents, theirs.parents):
        foreign = new_row(table, theirs.id, parents)
        for clause in ("", " ON CONFLICT DO NOTHING", " RETURNING id"):
            statement = insert(table, foreign) + sql.SQL(clause)
            assert refusal(bound, statement, foreign) == DENIED


@by_privilege["INSERT"]
def test_a_conflict_tells_nothing_of_another_tenant(
    table: Table, bound: Connection, ours: Tenant, theirs: Tenant
) -> None:
    taken = {**new_row(table, ours.id, ours.parents), "id": UUID(ours.parents[table.name])}
    assert refusal(bound, insert(table, taken), taken) == "23505"

    same_id = {**taken, "id": UUID(theirs.parents[table.name])}
    assert refusal(bound, insert(table, same_id), same_id) is None
    oracle = insert(table, same_id) + sql.SQL(" ON CONFLICT (id) DO NOTHING")
    # There is no unique key without the tenant that a conflict could be named for.
    assert refusal(bound, oracle, same_id) == "42P10"


@by_privilege["INSERT"]
def test_a_foreign_parent_is_refused_like_an_absent_one(
    table: Table, bound: Connection, ours: Tenant, theirs: Tenant
) -> None:
    for column in (column for column in table.columns if "references" in column.info):
        row = new_row(table, ours.id, ours.parents)
        assert refusal(bound, insert(table, row), row) is None
        foreign = theirs.parents[column.info["references"]]
        for parent in (foreign, uuid4()):
            values = {**row, column.name: parent}
            assert refusal(bound, insert(table, values), values) == "23503"


@by_table
def test_a_row_cannot_change_its_tenant_its_id_or_its_creation(
    table: Table, bound: Connection, raw: Raw, ours: Tenant, theirs: Tenant
) -> None:
    move = on("UPDATE {} SET tenant_id = %(tenant)s", table)
    fixed = {c.name for c in table.columns} - set(updatable_columns(table))

    assert refusal(bound, move, {"tenant": theirs.id}) == DENIED
    for column in fixed:
        statement = sql.SQL("UPDATE {0} SET {1} = {1}").format(
            sql.Identifier(table.name), sql.Identifier(column)
        )
        assert refusal(bound, statement) == DENIED
    # The policy alone, for a role that holds every right on the column.
    with raw.owner_in(ours.id) as owner:
        assert refusal(owner, move, {"tenant": theirs.id}) == DENIED
        assert refusal(owner, move, {"tenant": ours.id}) is None


@by_privilege["UPDATE"]
def test_rows_of_another_tenant_are_not_updated(
    table: Table, bound: Connection, ours: Tenant, theirs: Tenant
) -> None:
    touch_one = _touch(table) + sql.SQL(" WHERE id = %(id)s")

    assert affected(bound, touch_one, key_of(ours, table)) == 1
    assert affected(bound, touch_one, key_of(theirs, table)) == 0
    assert affected(bound, _touch(table)) == len(ours.ids[table.name])


@by_privilege["DELETE"]
def test_rows_of_another_tenant_are_not_deleted(
    table: Table, bound: Connection, ours: Tenant, theirs: Tenant
) -> None:
    # A row of its own, to which nothing refers.
    row = new_row(table, ours.id, ours.parents)
    bound.execute(insert(table, row), row)
    delete = on("DELETE FROM {} WHERE id = %(id)s", table)

    assert affected(bound, delete, {"id": row["id"]}) == 1
    assert affected(bound, delete, key_of(theirs, table)) == 0
    for statement in (
        "DELETE FROM {} WHERE tenant_id = %(tenant)s",
        "DELETE FROM {0} AS t USING {0} AS o WHERE t.id = o.id AND o.tenant_id = %(tenant)s",
    ):
        assert affected(bound, on(statement, table), key_of(theirs, table)) == 0


@by_table
def test_privileges_that_row_security_does_not_bind_are_not_granted(
    table: Table, bound: Connection, ours: Tenant, theirs: Tenant
) -> None:
    for statement in (
        "TRUNCATE {}",
        "TRUNCATE {} CASCADE",
        f"CREATE TRIGGER t AFTER INSERT ON {{}} EXECUTE FUNCTION {AUDIT_FUNCTIONS[0].name}()",
        "CREATE POLICY open ON {} USING (true)",
        "DROP POLICY tenant_isolation ON {}",
        "ALTER TABLE {} DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE {} NO FORCE ROW LEVEL SECURITY",
        "ALTER TABLE {} DISABLE TRIGGER ALL",
        "ALTER TABLE {} OWNER TO saas_app",
        "CREATE INDEX ON {} (id)",
        "DROP TABLE {}",
    ):
        assert refusal(bound, on(statement, table)) == DENIED
    with bound.cursor().copy(on("COPY (SELECT tenant_id FROM {}) TO STDOUT", table)) as copied:
        assert {row[0] for row in copied.rows()} == {str(ours.id)}
    assert refusal(bound, on("COPY {} FROM STDIN", table)) in {DENIED, "0A000"}
    bound.execute("SET LOCAL row_security = off")
    assert refusal(bound, on("SELECT FROM {}", table)) == DENIED


@by_table
async def test_a_permissive_policy_more_opens_nothing(
    table: Table, raw: Raw, ours: Tenant, theirs: Tenant
) -> None:
    # The app's pool ends its lingering reads, which would hold the table, only while its loop runs.
    await asyncio.sleep(0.2)
    with raw.acting_as(raw.postgres.superuser) as administrator:
        administrator.execute(on("CREATE POLICY open ON {} USING (true) WITH CHECK (true)", table))
        administrator.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(APP)))
        bind(administrator, ours.id)

        visible = affected(administrator, on("SELECT FROM {}", table))
        assert visible == len(ours.ids[table.name])
        foreign = new_row(table, theirs.id, theirs.parents)
        assert refusal(administrator, insert(table, foreign), foreign) == DENIED


@by_table
def test_the_platform_role_reads_and_changes_no_row(
    table: Table, raw: Raw, ours: Tenant, theirs: Tenant
) -> None:
    granted = table.info.get("platform", ())
    statements = {
        "SELECT": on("SELECT FROM {}", table),
        "UPDATE": _touch(table),
        "DELETE": on("DELETE FROM {}", table),
    }

    for tenant in (None, ours.id):
        with raw.acting_as(PLATFORM, tenant) as platform:
            for privilege, statement in statements.items():
                if privilege not in granted:
                    assert refusal(platform, statement) == DENIED
                elif tenant is None:
                    assert affected(platform, statement) == 0
            foreign = new_row(table, theirs.id, theirs.parents)
            assert refusal(platform, insert(table, foreign), foreign) == DENIED


@by_table
@pytest.mark.parametrize("plan", ["force_generic_plan", "force_custom_plan", "auto"])
async def test_one_prepared_statement_serves_each_tenant_its_own_rows(
    table: Table, raw: Raw, ours: Tenant, theirs: Tenant, plan: str
) -> None:
    connection = await asyncpg.connect(raw.postgres.dsn(APP, raw.database))
    try:
        await connection.execute(f"SET plan_cache_mode = {plan}")
        statement = await connection.prepare(f'SELECT DISTINCT tenant_id FROM "{table.name}"')
        for tenant in (ours, theirs, None, *(ours, theirs) * 4):
            async with connection.transaction():
                if tenant is not None:
                    await connection.execute(f"SET LOCAL app.tenant_id = '{tenant.id}'")
                seen = [row["tenant_id"] for row in await statement.fetch()]
            assert seen == ([] if tenant is None else [tenant.id])
    finally:
        await connection.close()


def _touch(table: Table) -> sql.Composed:
    """An update that changes nothing, of a column that the app may write; any where there is
    none."""
    column = next(iter(updatable_columns(table)))
    return sql.SQL("UPDATE {0} SET {1} = {1}").format(
        sql.Identifier(table.name), sql.Identifier(column)
    )


def test_a_refusal_is_not_a_missing_table(raw: Raw) -> None:
    with raw.acting_as(APP) as connection, pytest.raises(psycopg.errors.UndefinedTable):
        connection.execute("SELECT FROM a_table_that_nobody_has_made")
