"""What the two roles of the product can do to the database itself: nothing that leaves a tenant."""

from collections.abc import Iterator
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql

from isolation.conftest import NewTenant
from isolation.raw import Connection, Raw, bind, ids_of, refusal
from saas.db.audit_functions import AUDIT_FUNCTIONS
from saas.db.models import tenant_tables
from saas.db.roles import APP, DENIED_FUNCTIONS, MIGRATOR, OWNER, PLATFORM
from saas.dev.cluster import SUPERUSER

DENIED = "42501"
AUDIT_FUNCTION = AUDIT_FUNCTIONS[0].name
OTHER = "'00000000-0000-7000-8000-000000000000'"

# Inside a prepared statement an injected expression can call functions, but not SET.
EXPRESSIONS = (
    f"SELECT set_config('app.tenant_id', {OTHER}, true)",
    f"SELECT set_config('app.tenant_id', {OTHER}, false)",
    f"WITH x AS MATERIALIZED (SELECT set_config('app.tenant_id', {OTHER}, true) AS v) "
    "SELECT projects.* FROM x, projects WHERE v IS NOT NULL",
    f"UPDATE pg_settings SET setting = {OTHER} WHERE name = 'app.tenant_id'",
    f"UPDATE pg_settings SET setting = {OTHER} WHERE name = 'search_path'",
    f"SELECT query_to_xml($$SELECT set_config('app.tenant_id', {OTHER}, true)$$, true, true, '')",
    f"DO $$ BEGIN PERFORM set_config('app.tenant_id', {OTHER}, true); END $$",
    "SELECT lo_create(0)",
    "SELECT lo_creat(-1)",
    "SELECT lo_from_bytea(0, 'x')",
    "SELECT lo_import('/etc/passwd')",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_read_binary_file('/etc/passwd')",
    "SELECT pg_ls_dir('/')",
    "SELECT pg_stat_file('/')",
    "SELECT pg_reload_conf()",
    "SELECT pg_create_logical_replication_slot('s', 'pgoutput')",
    "SELECT pg_export_snapshot() FROM pg_authid",
    "SELECT * FROM pg_statistic",
    "SELECT * FROM pg_authid",
    "SELECT * FROM pg_user_mapping",
)

COMMANDS = (
    f"SET ROLE {OWNER}",
    f"SET ROLE {MIGRATOR}",
    f"SET SESSION AUTHORIZATION {SUPERUSER}",
    f"SET ROLE {SUPERUSER}",
    f"SET SESSION AUTHORIZATION {OWNER}",
    "SET session_replication_role = replica",
    "SET LOCAL session_replication_role = replica",
    "SET log_statement = 'none'",
    "ALTER DATABASE saas SET app.tenant_id = 'x'",
    "ALTER ROLE saas_migrator SET app.tenant_id = 'x'",
    "ALTER ROLE saas_app BYPASSRLS",
    "ALTER ROLE saas_app SUPERUSER",
    "ALTER ROLE saas_app IN DATABASE saas SET session_replication_role = replica",
    f"GRANT {OWNER} TO saas_app",
    "GRANT pg_read_all_data TO saas_app",
    "CREATE ROLE another",
    "CREATE SCHEMA another",
    "CREATE TABLE another (x int)",
    "CREATE TABLE public.another (x int)",
    "CREATE TABLE pg_temp.another (x int)",
    "CREATE TEMP TABLE another (x int)",
    "CREATE TEMP VIEW another AS SELECT 1 AS x",
    "CREATE VIEW public.another AS SELECT 1 AS x",
    "CREATE MATERIALIZED VIEW public.another AS SELECT 1 AS x",
    "CREATE SEQUENCE public.another",
    "CREATE TYPE public.another AS (x int)",
    "CREATE FUNCTION public.another() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE FUNCTION pg_temp.another() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE OPERATOR public.=== (LEFTARG = text, RIGHTARG = text, FUNCTION = texteq)",
    "CREATE EXTENSION vector",
    "CREATE PUBLICATION another FOR ALL TABLES",
    f"CREATE EVENT TRIGGER another ON ddl_command_end EXECUTE FUNCTION {AUDIT_FUNCTION}()",
    f"ALTER FUNCTION {AUDIT_FUNCTION}() SECURITY INVOKER",
    f"DROP FUNCTION {AUDIT_FUNCTION}()",
    "COPY (SELECT 1) TO PROGRAM 'cat'",
    "COPY (SELECT 1) TO '/tmp/another'",
    "DROP OWNED BY saas_owner",
    "REASSIGN OWNED BY saas_owner TO saas_app",
    "DELETE FROM alembic_version",
    "UPDATE alembic_version SET version_num = 'x'",
    "LOAD 'auto_explain'",
)
OUTSIDE_TRANSACTIONS = (
    "ALTER SYSTEM SET row_security = off",
    "CREATE DATABASE another TEMPLATE saas",
    "DROP DATABASE template1",
    "CREATE SUBSCRIPTION another CONNECTION 'dbname=saas' PUBLICATION another",
)
LOG_CHANGES = (
    "INSERT INTO audit_log SELECT * FROM audit_log",
    "UPDATE audit_log SET actor = 'nobody'",
    "UPDATE audit_log SET changes = '{}'",
    "DELETE FROM audit_log",
    "TRUNCATE audit_log",
    "SELECT FROM audit_log FOR UPDATE",
    "MERGE INTO audit_log AS a USING (SELECT 1) AS x ON true WHEN MATCHED THEN DELETE",
    "ALTER TABLE audit_log DISABLE TRIGGER ALL",
    "WITH gone AS (DELETE FROM audit_log RETURNING *) SELECT * FROM gone",
)

both_roles = pytest.mark.parametrize("role", [APP, PLATFORM])


@pytest.fixture(scope="module")
def tenant(new_tenant: NewTenant) -> UUID:
    return new_tenant()


@pytest.fixture
def connection(role: str, raw: Raw, tenant: UUID) -> Iterator[Connection]:
    with raw.acting_as(role, tenant) as connection:
        yield connection


@both_roles
@pytest.mark.parametrize("statement", EXPRESSIONS)
def test_no_expression_changes_the_tenant_or_leaves_the_database(
    statement: str, connection: Connection
) -> None:
    assert refusal(connection, "SELECT uuidv7()") is None

    assert refusal(connection, statement) == DENIED


@both_roles
@pytest.mark.parametrize("statement", COMMANDS)
def test_no_command_gains_a_right(statement: str, connection: Connection) -> None:
    assert refusal(connection, "SET LOCAL work_mem = '1MB'") is None

    assert refusal(connection, statement) == DENIED


@both_roles
def test_no_command_outside_a_transaction_gains_a_right(role: str, raw: Raw) -> None:
    with psycopg.connect(raw.postgres.dsn(role, raw.database), autocommit=True) as connection:
        for statement in OUTSIDE_TRANSACTIONS:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


@both_roles
@pytest.mark.parametrize("statement", LOG_CHANGES)
def test_the_audit_log_cannot_be_changed(
    statement: str, connection: Connection, raw: Raw, role: str
) -> None:
    assert refusal(connection, statement) == DENIED

    if role == APP:
        found = connection.execute("SELECT count(*) > 0 FROM audit_log").fetchone()
        assert found == (True,)


@both_roles
def test_the_denied_functions_are_out_of_reach(role: str, raw: Raw) -> None:
    with raw.acting_as(role) as connection:
        for function in DENIED_FUNCTIONS:
            held = "SELECT has_function_privilege(%s, 'EXECUTE')"
            assert connection.execute(held, [f"pg_catalog.{function}"]).fetchone() == (False,)


@both_roles
def test_the_trigger_functions_cannot_be_called(role: str, raw: Raw) -> None:
    with raw.acting_as(role) as connection:
        for function in AUDIT_FUNCTIONS:
            held = "SELECT has_function_privilege(%s, 'EXECUTE')"
            assert connection.execute(held, [f"public.{function.name}()"]).fetchone() == (False,)
            assert refusal(connection, f"SELECT public.{function.name}()") in {DENIED, "0A000"}


def test_not_even_the_audit_functions_may_write_into_another_tenant(
    raw: Raw, new_tenant: NewTenant
) -> None:
    ours, theirs = new_tenant(), new_tenant()
    entry = (
        "INSERT INTO audit_log (tenant_id, at, actor, action, entity, entity_id, changes) "
        "SELECT {}, now(), 'x', 'insert', 'projects', uuidv7(), '{{}}'"
    )

    # As the owner, whose rights the functions have.
    with raw.owner_in(ours) as owner:
        assert refusal(owner, sql.SQL(entry).format(sql.Literal(str(ours)) + CAST)) is None
        assert refusal(owner, sql.SQL(entry).format(sql.Literal(str(theirs)) + CAST)) == DENIED


CAST = sql.SQL("::uuid")


def test_the_app_sees_its_own_tenant_alone_and_cannot_change_it(raw: Raw) -> None:
    ours, theirs = uuid4(), uuid4()
    with raw.acting_as(raw.postgres.superuser) as connection:
        connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(PLATFORM)))
        for tenant in (ours, theirs):
            bind(connection, tenant)
            connection.execute(
                "INSERT INTO tenants (id, slug, name, plan, created_by, updated_by) "
                "VALUES (%s, %s, 'x', 'free', 'x', 'x')",
                [tenant, f"raw-{tenant.hex[:12]}"],
            )
        connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(APP)))

        bind(connection, ours)
        assert connection.execute("SELECT id FROM tenants").fetchall() == [(ours,)]
        for statement in (
            "UPDATE tenants SET status = 'active'",
            "DELETE FROM tenants",
            "INSERT INTO tenants SELECT * FROM tenants",
            "UPDATE plans SET limits = '{}'",
            "DELETE FROM plans",
        ):
            assert refusal(connection, statement) == DENIED
        bind(connection, "")
        assert connection.execute("SELECT id FROM tenants").fetchall() == []


def test_statistics_of_the_planner_show_no_values(raw: Raw, tenant: UUID) -> None:
    names = [table.name for table in tenant_tables()]
    with psycopg.connect(
        raw.postgres.dsn(raw.postgres.superuser, raw.database), autocommit=True
    ) as administrator:
        administrator.execute("ANALYZE")
        shown = "SELECT count(*) FROM pg_stats WHERE tablename = ANY (%s)"
        assert administrator.execute(shown, [names]).fetchone() != (0,)

    with raw.acting_as(APP, tenant) as connection:
        assert connection.execute(shown, [names]).fetchone() == (0,)
        assert len(ids_of(raw, tenant)) == len(names)
