"""How migrations run: reversibly, one at a time, under the owner's role and its limits."""

import io
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command
from alembic.script import ScriptDirectory
from some_rows import BIND, INSERT_MANY, INSERT_PROJECT

from saas.db import migrate as migrate_module
from saas.db.migrate import current_revision, head_revision, migrate, migration_config
from saas.db.roles import APP, MIGRATOR, PLATFORM
from saas.errors import ConfigurationError

pytestmark = pytest.mark.long


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    session = [statement.replace("'3s'", "'50ms'") for statement in migrate_module._SESSION]
    monkeypatch.setattr(migrate_module, "_SESSION", tuple(session))
    monkeypatch.setattr(migrate_module, "_RETRY_PAUSES_SECONDS", (0.1, 0.2, 0.4))


def revisions() -> list[Any]:
    """From the first to the head."""
    script = ScriptDirectory.from_config(migration_config())
    return list(script.walk_revisions())[::-1]


def test_every_migration_can_be_taken_back_and_repeated(new_database: Any) -> None:
    database = new_database(is_migrated=False)
    config = migration_config(database.url(MIGRATOR))
    for revision in revisions():
        before = database.dump()
        migrate(database.url(MIGRATOR), revision.revision)
        after = database.dump()

        command.downgrade(config, revision.down_revision or "base")
        assert database.dump() == before

        migrate(database.url(MIGRATOR), revision.revision)
        assert database.dump() == after


def test_migrations_are_one_line_and_hold_only_literal_text() -> None:
    for revision in revisions():
        assert not isinstance(revision.down_revision, tuple)
        source = Path(revision.path).read_text(encoding="utf-8")
        assert "import saas" not in source
        assert "from saas" not in source
    assert revisions()[-1].revision == head_revision()


def test_both_app_roles_can_read_the_revision(new_database: Any, migrated: Any) -> None:
    for role in (APP, PLATFORM):
        with migrated.connect(role) as connection:
            assert current_revision(connection) == head_revision()
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("DELETE FROM alembic_version")

    with new_database(is_migrated=False).connect(APP) as connection:
        assert current_revision(connection) is None


def test_migrating_again_changes_nothing(new_database: Any) -> None:
    database = new_database()
    before = database.dump()

    migrate(database.url(MIGRATOR))

    assert database.dump() == before


def test_two_migrators_at_once_both_succeed(new_database: Any) -> None:
    database = new_database(is_migrated=False)
    code = "import sys; from saas.db.migrate import migrate; migrate(sys.argv[1])"

    both = [
        subprocess.Popen([sys.executable, "-c", code, database.url(MIGRATOR)]) for _ in range(2)
    ]

    assert [process.wait(timeout=30) for process in both] == [0, 0]
    with database.connect(APP) as connection:
        assert current_revision(connection) == head_revision()


def test_a_migrator_waits_for_its_turn(new_database: Any, checkout: Any) -> None:
    database = new_database()
    checkout.add_migration("9999", head_revision(), "CREATE TABLE later (id int)")
    with database.connect(autocommit=True) as other:
        other.execute(f"SELECT pg_advisory_lock({migrate_module._TURN})")
        waiting = threading.Thread(target=migrate, args=[database.url(MIGRATOR)])

        waiting.start()
        time.sleep(0.5)
        assert current_revision(other) == head_revision()

    waiting.join(timeout=10)
    with database.connect(APP) as connection:
        assert current_revision(connection) == "9999"


@pytest.mark.usefixtures("impatient")
def test_a_migration_that_cannot_lock_its_table_is_tried_again(
    new_database: Any, checkout: Any
) -> None:
    database = new_database()
    checkout.add_migration("9998", head_revision(), "CREATE TABLE earlier (id int)")
    checkout.add_migration("9999", "9998", "ALTER TABLE projects ADD COLUMN later int")
    with database.connect() as reader:
        reader.execute("LOCK TABLE projects IN ACCESS SHARE MODE")

        with pytest.raises(ConfigurationError, match="lock timeout"):
            migrate(database.url(MIGRATOR))
        # Each migration has a transaction of its own.
        assert current_revision(reader) == "9998"

        release = threading.Timer(0.2, reader.rollback)
        release.start()
        migrate(database.url(MIGRATOR))
        release.join()
        assert current_revision(reader) == "9999"


def test_backfill_under_row_security_is_an_error_instead_of_no_rows(
    new_database: Any, checkout: Any
) -> None:
    database = new_database()
    database.run(BIND, INSERT_PROJECT)
    checkout.add_migration("9999", head_revision(), "UPDATE projects SET description = 'filled'")

    with pytest.raises(ConfigurationError, match='row-level security policy for table "projects"'):
        migrate(database.url(MIGRATOR))

    with database.connect() as connection:
        assert connection.execute("SELECT description FROM projects").fetchall() == [(None,)]


def test_backfill_that_lifts_force_reaches_every_row_and_is_logged(
    new_database: Any, checkout: Any
) -> None:
    database = new_database()
    database.run(BIND, INSERT_PROJECT)
    before = database.dump()
    checkout.add_migration(
        "9999",
        head_revision(),
        "ALTER TABLE projects NO FORCE ROW LEVEL SECURITY",
        "ALTER TABLE audit_log NO FORCE ROW LEVEL SECURITY",
        "ALTER TABLE usage_changes NO FORCE ROW LEVEL SECURITY",
        "UPDATE projects SET description = 'filled'",
        INSERT_MANY.replace("'test'", f"'role:{MIGRATOR}'"),
        "ALTER TABLE projects FORCE ROW LEVEL SECURITY",
        "ALTER TABLE audit_log FORCE ROW LEVEL SECURITY",
        "ALTER TABLE usage_changes FORCE ROW LEVEL SECURITY",
    )

    migrate(database.url(MIGRATOR))

    assert database.dump() == before
    with database.connect() as connection:
        filled = "SELECT count(description), count(*) FROM projects"
        assert connection.execute(filled).fetchone() == (1, 61)
        log = connection.execute("SELECT action, actor FROM audit_log ORDER BY id").fetchall()
    added = [("insert", f"role:{MIGRATOR}")] * 60
    assert log == [("insert", "role:saas_root"), ("update", f"role:{MIGRATOR}"), *added]


def test_offline_sql_makes_the_same_database(
    new_database: Any, checkout: Any, psql: Path, tmp_path: Path
) -> None:
    offline, online = new_database(is_migrated=False), new_database()
    checkout.add_migration("9999", head_revision(), "COMMENT ON TABLE plans IS '100% at 1:1'")
    migrate(online.url(MIGRATOR))

    script = offline_script(tmp_path)
    command_line = [psql, "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--file", script]
    subprocess.run([*command_line, offline.url(MIGRATOR)], check=True, capture_output=True)

    assert offline.dump() == online.dump()
    with offline.connect(APP) as connection:
        assert current_revision(connection) == "9999"


def offline_script(folder: Path, revision: str = "head") -> Path:
    config = migration_config()
    config.output_buffer = io.StringIO()
    command.upgrade(config, revision, sql=True)
    script = folder / f"{revision.replace(':', '_')}.sql"
    script.write_text(config.output_buffer.getvalue(), encoding="utf-8")
    return script


def test_squawk_finds_no_dangerous_statement(tmp_path: Path) -> None:
    # One by one: of several transactions in one file it understands the first alone.
    scripts = [
        offline_script(tmp_path, f"{revision.down_revision or 'base'}:{revision.revision}")
        for revision in revisions()
    ]
    # A length is part of the contract of a column, and small counts need no bigint.
    matters_of_taste = "prefer-text-field,prefer-bigint-over-int,prefer-bigint-over-smallint"

    squawk = Path(sys.executable).with_name("squawk")
    command_line = [squawk, "--pg-version=18.0", f"--exclude={matters_of_taste}", *scripts]
    result = subprocess.run(command_line, capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stdout


def test_the_alembic_command_works_in_a_checkout_with_spaces(
    new_database: Any, checkout: Any
) -> None:
    database = new_database(is_migrated=False)
    urls = {
        "SAAS_DATABASE_URL": database.url(APP),
        "SAAS_MIGRATION_DATABASE_URL": database.url(MIGRATOR),
    }

    alembic = [Path(sys.executable).with_name("alembic"), "upgrade", "head"]
    subprocess.run(
        alembic, cwd=checkout.folder, env={**os.environ, **urls}, check=True, capture_output=True
    )

    with database.connect(APP) as connection:
        assert current_revision(connection) == head_revision()


def test_faults_are_one_line_for_the_operator(new_database: Any) -> None:
    database = new_database(is_migrated=False)
    app, migrator = database.url(APP), database.url(MIGRATOR)

    for url, revision, reason in (
        ("postgresql://nobody@/none?host=/nowhere", "head", "No such file"),
        ("nonsense", "head", "missing"),
        (app, "head", 'permission denied to set role "saas_owner"'),
        (migrator, "no-such-revision", "Can't locate revision"),
    ):
        with pytest.raises(ConfigurationError, match=reason) as caught:
            migrate(url, revision)
        assert "\n" not in str(caught.value)
