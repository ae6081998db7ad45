"""What the log and the figures of a database that is in use become when it is migrated."""

from typing import Any

import psycopg
import pytest
from alembic import command
from psycopg.rows import dict_row
from some_rows import BIND, INSERT_MANY, INSERT_TENANT, TENANT
from trigger_log import ENTRIES

from saas.db.audit import AuditEntry
from saas.db.migrate import migrate, migration_config
from saas.db.roles import APP, MIGRATOR, PLATFORM

pytestmark = pytest.mark.long

# How the version of 0018 reads its sets.
BEFORE = """SELECT (left(s.id::text, 24)
    || to_hex(('x' || right(s.id::text, 12))::bit(48)::bigint + e.number - 1))::uuid AS id,
  s.at, s.actor, s.request_id, s.ip, 'insert' AS action, s.entity,
  (e.new ->> 'id')::uuid AS entity_id,
  CASE WHEN e.new ? 'version' THEN jsonb_build_object('old', NULL, 'new', e.new - 'id')
    ELSE jsonb_build_object('is_new', true, 'old', NULL, 'new', e.new - 'id') END AS changes
FROM audit_sets AS s, jsonb_array_elements(s.rows) WITH ORDINALITY AS e(new, number)
ORDER BY 1"""


def test_short_entries_of_the_log_are_whole_for_the_version_before_them(new_database: Any) -> None:
    database = new_database()
    with database.connect(APP) as connection:
        connection.execute(BIND)
        connection.execute("SET app.actor = 'test'")
        connection.execute(INSERT_MANY)
        sets = connection.execute("SELECT id, size FROM audit_sets").fetchall()
        assert [size for _, size in sets] == [60]

    command.downgrade(migration_config(database.url(MIGRATOR)), "0016")

    with database.connect(APP) as connection:
        connection.execute(BIND)
        assert _actions(connection) == {("insert", "is_new"): 60}
        entries = connection.execute("SELECT id FROM audit_log ORDER BY id").fetchall()
        assert [id.int for (id,) in entries] == [sets[0][0].int + n for n in range(60)]

    command.downgrade(migration_config(database.url(MIGRATOR)), "0004")

    with database.connect(APP) as connection:
        connection.execute(BIND)
        assert _actions(connection) == {("insert", None): 60}
        logged = connection.execute(
            "SELECT entity_id, changes FROM audit_log ORDER BY id"
        ).fetchall()
        rows = connection.execute(
            "SELECT id, to_jsonb(projects.*) - '{tenant_id,id}'::text[] FROM projects ORDER BY id"
        ).fetchall()
    assert logged == [(id, {"old": None, "new": row}) for id, row in rows]


def test_sets_by_row_become_sets_by_column_and_are_the_same(new_database: Any) -> None:
    database = new_database(is_migrated=False)
    migrate(database.url(MIGRATOR), "0018")
    with database.connect(APP) as connection:
        connection.execute(BIND)
        connection.execute("SET TimeZone = 'UTC'; SET app.actor = 'test'")
        connection.execute(INSERT_MANY)
        columns = "(tenant_id, name, budget_cents, version, created_by, updated_by)"
        connection.execute(
            f"INSERT INTO projects {columns} SELECT '{TENANT}', 'More ' || n,"
            " nullif(n, 1), 1 + n % 2, 'test', 'test' FROM generate_series(1, 120) AS n"
        )
    before = _entries(database, BEFORE)
    assert len(before) == 180

    migrate(database.url(MIGRATOR))

    assert _entries(database, ENTRIES.sql) == before
    # The version before finds none, and does not fail.
    assert _entries(database, BEFORE) == []
    with database.connect(APP) as connection:
        connection.execute(BIND)
        connection.execute(INSERT_MANY.replace("Row", "New"))
    later = _entries(database, ENTRIES.sql)

    command.downgrade(migration_config(database.url(MIGRATOR)), "0018")

    assert len(later) == 240
    assert _entries(database, BEFORE) == later


def test_a_trigger_of_before_sets_by_column_fails_instead_of_logging_nothing(
    new_database: Any,
) -> None:
    """It may have begun before the migration, and wait for it."""
    database = new_database(is_migrated=False)
    migrate(database.url(MIGRATOR), "0018")
    with database.connect(APP) as connection:
        (before,) = connection.execute(
            "SELECT pg_get_functiondef('audit_inserted'::regproc)"
        ).fetchone()
    migrate(database.url(MIGRATOR))
    database.run(before)

    with database.connect(APP) as connection:
        connection.execute(BIND)
        with pytest.raises(psycopg.errors.CheckViolation, match="ck_audit_sets_size"):
            connection.execute(INSERT_MANY)


def test_changes_in_sets_are_single_entries_for_the_version_before(new_database: Any) -> None:
    database = new_database()
    with database.connect(APP) as connection:
        connection.execute(BIND)
        connection.execute(INSERT_MANY)
        connection.execute(
            "UPDATE projects SET description = name, is_active = name < 'Row 3',"
            " deleted_at = CASE WHEN name LIKE '%1' THEN now() END, deleted_by = 'test'"
        )
        connection.execute("UPDATE projects SET deleted_at = NULL, budget_cents = 7")
    entries = _entries(database, ENTRIES.sql)
    changes = [entry for entry in entries if entry.action != "insert"]
    assert {entry.action for entry in changes} == {"update", "soft_delete", "restore"}
    assert len(changes) == 120

    command.downgrade(migration_config(database.url(MIGRATOR)), "0020")

    assert _entries(database, "SELECT * FROM audit_log ORDER BY id") == changes
    with database.connect(APP) as connection:
        connection.execute(BIND)
        assert connection.execute("SELECT sum(size) FROM audit_sets").fetchone() == (60,)

    migrate(database.url(MIGRATOR))

    assert _entries(database, ENTRIES.sql) == entries


def test_figures_of_a_database_that_is_in_use_begin_with_what_is_there(new_database: Any) -> None:
    database = new_database(is_migrated=False)
    migrate(database.url(MIGRATOR), "0011")
    database.run(BIND, INSERT_TENANT)
    with database.connect(APP) as connection:
        connection.execute(BIND)
        connection.execute(INSERT_MANY)
        connection.execute("UPDATE projects SET deleted_at = now() WHERE name = 'Row 1'")
        connection.execute("UPDATE projects SET is_active = false WHERE name = 'Row 2'")

    migrate(database.url(MIGRATOR))

    with database.connect(PLATFORM) as connection:
        connection.execute(BIND)
        state = "sum(live), sum(active), sum(removed), sum(bytes)"
        done = "sum(created), sum(updated), sum(deleted)"
        counted = f"SELECT {state} FROM usage_changes WHERE tenant = '{TENANT}' AND entity = %s"
        found = connection.execute(counted, ["projects"]).fetchone()
        assert found
        assert found[:3] == (59, 58, 1)
        assert found == connection.execute(f"SELECT {state} FROM usage_of_rows()").fetchone()
        counted = f"SELECT {done} FROM usage_changes WHERE tenant = '{TENANT}'"
        assert connection.execute(counted).fetchone() == (60, 1, 1)
        assert connection.execute(f"SELECT {done} FROM usage_of_log()").fetchone() == (60, 1, 1)


def _entries(database: Any, sql: str) -> list[AuditEntry]:
    with database.connect(APP, row_factory=dict_row) as connection:
        connection.execute(BIND)
        found = connection.execute(sql, {"tenant_id": TENANT}).fetchall()
    return [
        AuditEntry(**{name: entry[name] for name in AuditEntry.__struct_fields__})
        for entry in found
    ]


def _actions(connection: psycopg.Connection[Any]) -> dict[tuple[str, str | None], int]:
    rows = connection.execute(
        "SELECT action, CASE WHEN changes ? 'is_new' THEN 'is_new' END, count(*)::int "
        "FROM audit_log GROUP BY 1, 2"
    )
    return {(action, form): count for action, form, count in rows}
