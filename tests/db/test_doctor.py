"""The doctor finds each fault that is planted, and none in a sound installation."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from saas.db.doctor import (
    check_installation,
    inspect_database,
    inspect_role,
    inspect_version,
    is_serving,
    revision_fault,
)
from saas.db.doctor_findings import Findings
from saas.db.migrate import head_revision
from saas.db.roles import APP, MIGRATOR, OWNER, PATCHED_SERVER_VERSION, PLATFORM

# Fault: (SQL that plants it, as the superuser; words of the sentence that tells it).
ROLE_FAULTS = {
    "superuser": ("ALTER ROLE saas_app SUPERUSER", "saas_app is SUPERUSER"),
    "bypassrls": ("ALTER ROLE saas_app BYPASSRLS", "saas_app is BYPASSRLS"),
    "createrole": ("ALTER ROLE saas_app CREATEROLE", "saas_app is CREATEROLE"),
    "replication": ("ALTER ROLE saas_app REPLICATION", "saas_app is REPLICATION"),
    "member of the owner": (
        "GRANT saas_owner TO saas_app WITH INHERIT FALSE, SET TRUE",
        "saas_app may become saas_owner: REVOKE saas_owner FROM saas_app",
    ),
    "member of a superuser": ("GRANT saas_root TO saas_app", "may become saas_root"),
    "member of the platform": ("GRANT saas_platform TO saas_app", "may become saas_platform"),
    "owner of a table": ("ALTER TABLE tasks OWNER TO saas_app", "saas_app owns tasks"),
    "owner of the database": ("ALTER DATABASE migrated OWNER TO saas_app", "CREATE on database"),
    "create": ("GRANT CREATE ON SCHEMA public TO saas_app", "may make objects in schema public"),
    "temp": (
        "GRANT TEMPORARY ON DATABASE migrated TO PUBLIC",
        "TEMPORARY on database migrated): REVOKE TEMPORARY ON DATABASE migrated FROM PUBLIC",
    ),
    "bound from the start": ("SET LOCAL app.tenant_id = 'x'", "already bound to tenant x"),
}
ROLE_WARNINGS = {
    "set_config": (
        "GRANT EXECUTE ON FUNCTION set_config(text, text, boolean) TO PUBLIC",
        "REVOKE EXECUTE ON FUNCTION pg_catalog.set_config(text, text, boolean) FROM PUBLIC",
    ),
    "large objects": ("GRANT EXECUTE ON FUNCTION lo_create(oid) TO saas_app", "lo_create"),
}
DATABASE_FAULTS = {
    "revision": ("DELETE FROM alembic_version", "is at revision none, this version needs"),
    "no revision": ("DROP TABLE alembic_version", "is at revision none"),
    "revision hidden": ("REVOKE ALL ON alembic_version FROM saas_app", "may not read alembic_v"),
    "table missing": (
        "DROP TABLE tasks",
        "Table tasks is missing: write a migration (`alembic revision --autogenerate`) and run",
    ),
    "row security off": ("ALTER TABLE tasks DISABLE ROW LEVEL SECURITY", "ENABLE ROW LEVEL"),
    "not forced": ("ALTER TABLE tasks NO FORCE ROW LEVEL SECURITY", "FORCE ROW LEVEL SECURITY"),
    "policy gone": ("DROP POLICY tenant_isolation ON tasks", "CREATE POLICY tenant_isolation"),
    "policy added": ("CREATE POLICY open ON tasks USING (true)", "DROP POLICY open ON tasks"),
    "policy wide": ("ALTER POLICY tenant_fence ON tasks USING (true)", "CREATE POLICY tenant_f"),
    "check wide": ("ALTER POLICY tenant_isolation ON tasks WITH CHECK (true)", "CREATE POLICY"),
    "control policy gone": ("DROP POLICY tenant_isolation ON tenants", "Table tenants is not"),
    "truncate": ("GRANT TRUNCATE ON tasks TO saas_app", "REVOKE TRUNCATE ON tasks FROM saas_app"),
    "references": ("GRANT REFERENCES ON tasks TO saas_platform", "REVOKE REFERENCES ON tasks"),
    "trigger right": ("GRANT TRIGGER ON tasks TO PUBLIC", "REVOKE TRIGGER ON tasks FROM public"),
    "tenant_id writable": ("GRANT UPDATE (tenant_id) ON tasks TO saas_app", "UPDATE (tenant_id)"),
    "grant gone": ("REVOKE SELECT ON tasks FROM saas_app", "GRANT SELECT ON tasks TO saas_app"),
    "grant option": ("GRANT SELECT ON tasks TO saas_app WITH GRANT OPTION", "may pass its rights"),
    "trigger off": ("ALTER TABLE tasks DISABLE TRIGGER audit_row", "CREATE TRIGGER audit_row"),
    "trigger gone": ("DROP TRIGGER audit_row ON tasks", "CREATE TRIGGER audit_row"),
    "foreign keys off": ("ALTER TABLE tasks DISABLE TRIGGER ALL", "foreign keys of tasks are"),
    "other audit function": (
        "CREATE OR REPLACE FUNCTION audit_row() RETURNS trigger LANGUAGE plpgsql "
        "AS 'BEGIN RETURN NULL; END'",
        "Function audit_row() is missing or not that",
    ),
    "platform function open": (
        "GRANT EXECUTE ON FUNCTION record_access(jsonb) TO saas_app",
        "Function record_access(details jsonb) is missing or not that",
    ),
    "platform function gone": (
        "DROP FUNCTION purge_rows(text, integer)",
        "Function purge_rows(entity text, most integer) is missing",
    ),
    "import function open": (
        "GRANT EXECUTE ON FUNCTION begin_import(jsonb) TO saas_app",
        "Function begin_import(origin jsonb) is missing or not that",
    ),
    "import function gone": ("DROP FUNCTION is_importing()", "Function is_importing() is missing"),
    "undeclared table": (
        "CREATE TABLE forgotten (tenant_id uuid)",
        "Table forgotten has a tenant_id, but no model declares it, and no row-level security "
        "guards it. Name the module of its model in SAAS_MODELS.",
    ),
    "undeclared table with a policy that is not forced": (
        "CREATE TABLE forgotten (tenant_id uuid); CREATE POLICY p ON forgotten;"
        "ALTER TABLE forgotten ENABLE ROW LEVEL SECURITY",
        "and no row-level security guards it",
    ),
    "undeclared table with policies": (
        "CREATE TABLE forgotten (tenant_id uuid); CREATE POLICY p ON forgotten;"
        "ALTER TABLE forgotten ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        "Table forgotten has a tenant_id, but no model declares it, so whether its policies are "
        "right is unknown. Name the module of its model in SAAS_MODELS.",
    ),
    "undeclared elsewhere": (
        "CREATE SCHEMA side; CREATE TABLE side.forgotten (tenant_id uuid)",
        "Table side.forgotten has a tenant_id",
    ),
    "undeclared but granted": (
        "CREATE TABLE extra (id int); GRANT SELECT ON extra TO PUBLIC",
        "PUBLIC holds SELECT on extra, which no model declares",
    ),
    "a column granted": (
        "CREATE TABLE extra (id int); GRANT SELECT (id) ON extra TO saas_app",
        "saas_app holds SELECT on extra",
    ),
    "revision writable": ("GRANT UPDATE ON alembic_version TO saas_app", "UPDATE on alembic_ver"),
    "unique without tenant": ("CREATE UNIQUE INDEX odd ON tasks (title)", "unique index odd of"),
    "unique expression": ("CREATE UNIQUE INDEX odd ON tasks (lower(title))", "unique index odd"),
    "foreign key without tenant": (
        "ALTER TABLE members ADD UNIQUE (id);"
        "ALTER TABLE tasks ADD CONSTRAINT odd FOREIGN KEY (assignee_id) REFERENCES members (id)",
        "foreign key odd of tasks does not start with tenant_id",
    ),
    "view of its owner": ("CREATE VIEW v AS SELECT * FROM tasks", "View v reads as its owner"),
    "view with the option off": (
        "CREATE VIEW v WITH (security_invoker = off) AS SELECT * FROM tasks",
        "View v reads as its owner",
    ),
    "granted materialized view": (
        "CREATE MATERIALIZED VIEW m AS SELECT * FROM tasks; GRANT SELECT ON m TO saas_app",
        "Materialized view m is granted to saas_app",
    ),
    "granted partition": (
        "CREATE TABLE whole (id int) PARTITION BY LIST (id);"
        "CREATE TABLE part PARTITION OF whole DEFAULT; GRANT SELECT ON part TO saas_platform",
        "saas_platform is granted on the partition part",
    ),
    "definer without a path": (
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
        "Function f() runs as its owner without a search_path",
    ),
    "definer of a superuser": (
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER SET search_path = '' "
        "AS 'SELECT 1'",
        "Function f() runs as saas_root, a superuser",
    ),
    "immutable setting": (
        "CREATE FUNCTION f() RETURNS text LANGUAGE sql IMMUTABLE AS "
        "$$SELECT current_setting('app.tenant_id')$$",
        "Function f() reads a setting but is IMMUTABLE",
    ),
    "immutable setting, parsed": (
        "CREATE FUNCTION f() RETURNS text IMMUTABLE RETURN current_setting('app.tenant_id')",
        "Function f() reads a setting but is IMMUTABLE",
    ),
    "bound role": ("ALTER ROLE saas_app SET app.tenant_id = 'x'", "app.tenant_id of saas_app"),
    "bound database": ("ALTER DATABASE migrated SET app.actor = 'x'", "app.actor of -"),
    "foreign owner": (
        "CREATE TABLE extra (id int)",
        "extra belongs to saas_root instead of saas_o",
    ),
    "foreign type": ("CREATE TYPE mood AS ENUM ('ok')", "Type mood belongs to saas_root"),
    "foreign schema": ("ALTER SCHEMA public OWNER TO saas_root", "Schema public belongs to"),
    "default rights": (
        "ALTER DEFAULT PRIVILEGES FOR ROLE saas_owner GRANT SELECT ON TABLES TO saas_app",
        "New tables of saas_owner are open to saas_app",
    ),
}
DATABASE_WARNINGS = {
    "numeric in an index": (
        "ALTER TABLE tasks ADD cost numeric; CREATE INDEX odd ON tasks (tenant_id, cost)",
        "The index odd cannot serve its column cost (numeric)",
    ),
    "enum in an index": (
        "CREATE TYPE mood AS ENUM ('ok'); ALTER TABLE tasks ADD mood mood;"
        "CREATE INDEX odd ON tasks (tenant_id, mood)",
        "The index odd cannot serve its column mood",
    ),
}


@pytest.fixture
def admin(migrated: Any) -> Iterator[psycopg.Connection[Any]]:
    """What it plants is seen by nobody else, and gone when the test ends."""
    with migrated.connect() as connection:
        yield connection
        connection.rollback()


@pytest.fixture(scope="module")
def sound(migrated: Any) -> Findings:
    """Before anything is planted."""
    with migrated.connect() as connection:
        return examine(connection)


def examine(admin: psycopg.Connection[Any], role: str = APP) -> Findings:
    """As the app would see it, inside the transaction of the superuser."""
    admin.execute(f"SET LOCAL SESSION AUTHORIZATION {role}")
    findings = inspect_role(admin, role) + inspect_database(admin)
    admin.execute("SET LOCAL SESSION AUTHORIZATION saas_root")
    return findings


@pytest.mark.parametrize("fault", ROLE_FAULTS | DATABASE_FAULTS)
def test_a_planted_fault_is_an_error(admin: Any, sound: Findings, fault: str) -> None:
    statement, words = (ROLE_FAULTS | DATABASE_FAULTS)[fault]

    admin.execute(statement)
    found = examine(admin)

    assert sound.errors == ()
    assert any(words in sentence for sentence in found.errors), found.errors
    assert all("\n" not in sentence for sentence in found.errors)


@pytest.mark.parametrize("fault", ROLE_WARNINGS | DATABASE_WARNINGS)
def test_a_planted_weakness_is_a_warning(admin: Any, sound: Findings, fault: str) -> None:
    statement, words = (ROLE_WARNINGS | DATABASE_WARNINGS)[fault]

    admin.execute(statement)
    found = examine(admin)

    new = set(found.warnings) - set(sound.warnings)
    assert len(new) == 1
    assert words in new.pop()


def test_a_sound_installation_has_no_errors_for_either_role(admin: Any, migrated: Any) -> None:
    app, platform = migrated.url(APP), migrated.url(PLATFORM)

    assert examine(admin, PLATFORM).errors == ()
    assert check_installation(app, platform).errors == ()
    assert is_serving(app)
    assert revision_fault(app) is None


def test_a_database_that_a_newer_version_migrated_still_serves(admin: Any) -> None:
    admin.execute(
        "UPDATE alembic_version SET version_num = 'newer';"
        "SET LOCAL ROLE saas_owner;"
        "ALTER TABLE tasks ADD COLUMN colour text; GRANT UPDATE (colour) ON tasks TO saas_app;"
        "CREATE TABLE invoices (tenant_id uuid, id uuid); RESET ROLE"
    )

    found = examine(admin)
    assert found.errors == ()
    assert any("is at revision newer, which is newer" in warning for warning in found.warnings)

    admin.execute("ALTER TABLE tasks DISABLE ROW LEVEL SECURITY")
    assert any("ENABLE ROW LEVEL" in error for error in examine(admin).errors)


def test_objects_that_are_no_danger_are_no_fault(admin: Any) -> None:
    admin.execute(
        "SET LOCAL ROLE saas_owner;"
        "CREATE VIEW v WITH (security_invoker = true) AS SELECT * FROM tasks;"
        "GRANT SELECT ON v TO saas_app;"
        "CREATE MATERIALIZED VIEW m AS SELECT 1 AS one;"
        "CREATE FUNCTION f() RETURNS text LANGUAGE sql STABLE AS "
        "$$SELECT current_setting('app.tenant_id')$$;"
        "CREATE UNIQUE INDEX extra ON tasks (tenant_id, due_on);"
        "CREATE TABLE private (id int); RESET ROLE;"
        "ALTER ROLE saas_app SET statement_timeout = 9"
    )

    found = examine(admin)

    assert found.errors == ()


def test_a_column_without_a_migration_is_told_before_what_follows(admin: Any) -> None:
    advice = "write a migration (`alembic revision --autogenerate`) and run `saas migrate`."

    admin.execute("ALTER TABLE tasks DROP COLUMN due_on; REVOKE SELECT ON tasks FROM saas_app")
    found = examine(admin)

    assert found.errors[0] == f"Table tasks lacks the column due_on: {advice}"
    assert any("needed: GRANT SELECT ON tasks TO saas_app." in error for error in found.errors)
    assert not any("(due_on" in error for error in found.errors), found.errors
    # Where migrations wait to be run, none is to be written.
    admin.execute("UPDATE alembic_version SET version_num = '0001'")
    behind = examine(admin).errors
    assert behind[0].endswith("run `saas migrate`.")
    assert behind[1] == "Table tasks lacks the column due_on."


def test_a_url_of_another_role_is_refused(migrated: Any) -> None:
    app, platform = migrated.url(APP), migrated.url(PLATFORM)
    superuser = migrated.url("saas_root")

    for app_url, platform_url, words in (
        (superuser, platform, "saas_root is SUPERUSER"),
        (migrated.url(MIGRATOR), platform, f"may become {OWNER}"),
        (app, superuser, "saas_root is SUPERUSER"),
        (app, app, "The URL for saas_platform connects as saas_app"),
        (platform, app, "The URL for saas_app connects as saas_platform"),
    ):
        errors = check_installation(app_url, platform_url).errors
        assert any(words in sentence for sentence in errors), errors


def test_a_database_that_is_away_is_one_error(migrated: Any) -> None:
    app, away = migrated.url(APP), "postgresql://saas_app@/none?host=/nowhere"

    for urls in ((away, app), (app, away)):
        (error,) = check_installation(*urls).errors
        assert error.startswith("The database cannot be checked: ")
        assert "\n" not in error
    assert not is_serving(away)
    assert revision_fault(away) is None


def test_an_empty_database_does_not_serve(new_database: Any) -> None:
    database = new_database(is_migrated=False)
    app, platform = database.url(APP), database.url(PLATFORM)

    errors = check_installation(app, platform).errors

    assert not is_serving(app)
    assert revision_fault(app) == errors[0]
    assert f"is at revision none, this version needs {head_revision()}" in errors[0]
    assert "Table projects is missing." in errors


def test_an_old_server_is_refused_and_an_unpatched_one_in_production() -> None:
    sound = PATCHED_SERVER_VERSION

    assert inspect_version(sound, environment="prod") == Findings()
    assert inspect_version(170009, environment="dev").errors == (
        "PostgreSQL 18 or newer is needed, this is 17.9.",
    )
    unpatched = inspect_version(sound - 1, environment="prod")
    assert inspect_version(sound - 1, environment="dev") == Findings(warnings=unpatched.errors)
    assert len(unpatched.errors) == 1
