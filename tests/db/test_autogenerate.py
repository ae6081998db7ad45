"""What `alembic revision --autogenerate` writes: a table is never made without its guards."""

import itertools
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
from alembic import command
from alembic.script import Script
from sqlalchemy import CheckConstraint, MetaData, String, Table
from sqlalchemy.orm import Mapped, mapped_column

from saas.db.autogenerate import _pieces
from saas.db.catalog import DEFINER_FUNCTIONS, required_function
from saas.db.migrate import head_revision, migrate
from saas.db.models import TenantModel, reference, security, table_of
from saas.db.rls import required_security
from saas.db.roles import APP, MIGRATOR
from saas.schema import metadata as product_metadata

pytestmark = pytest.mark.long

TENANT, STRANGER = (f"0199d3a0-0000-7000-8000-00000000000{number}" for number in (1, 2))
numbers = itertools.count()


def with_note(**attributes: Any) -> MetaData:
    """The product's tables and one more, whose names need quotes in SQL."""
    body = {
        "__tablename__": "order",
        "__annotations__": {"user": Mapped[str], "secret": Mapped[str]},
        "user": mapped_column(),
        "secret": mapped_column(info={"masked": True}),
        "project_id": reference("projects"),
        "__table_args__": (CheckConstraint("length(secret) > 1", name="secret"),),
        "__module__": __name__,
        **attributes,
    }
    model: Any = type(f"Note{next(numbers)}", (TenantModel,), body)
    return copied(table_of(model))


def copied(*more: Table) -> MetaData:
    """Apart from the product's own metadata, which other tests read."""
    copy = MetaData(naming_convention=product_metadata.naming_convention)
    for table in product_metadata.sorted_tables:
        table.to_metadata(copy)
    for table in more:
        product_metadata.remove(table)
    return copy


class Bench(NamedTuple):
    """A database of its own beside a copy of the migrations."""

    database: Any
    checkout: Any

    def revise(self, metadata: MetaData, name: str) -> str:
        """Write a migration and apply it; its text."""
        script = command.revision(self._config(metadata), name, autogenerate=True)
        assert isinstance(script, Script)
        migrate(self.database.url(MIGRATOR))
        return Path(script.path).read_text(encoding="utf-8")

    def downgrade(self) -> None:
        command.downgrade(self._config(None), "-1")

    def assert_agrees(self, metadata: MetaData) -> None:
        command.check(self._config(metadata))
        catalogue = self.database.catalogue()
        for table in metadata.sorted_tables:
            assert catalogue.tables[table.name] == required_security(table)
        for function in DEFINER_FUNCTIONS:
            assert catalogue.functions[function.signature] == required_function(function)

    def _config(self, metadata: MetaData | None) -> Any:
        return self.checkout.config(self.database.url(MIGRATOR), metadata)


@pytest.fixture
def bench(new_database: Any, checkout: Any) -> Bench:
    return Bench(new_database(), checkout)


def test_the_migrations_make_what_the_models_say(migrated: Any, checkout: Any) -> None:
    Bench(migrated, checkout).assert_agrees(product_metadata)


def test_a_new_model_gets_its_table_and_its_guards(bench: Bench) -> None:
    before = bench.database.dump()
    metadata = with_note()

    source = bench.revise(metadata, "note")

    bench.assert_agrees(metadata)
    assert f"revision: str = {f'{int(head_revision()) + 1:04}'!r}" in source
    assert "from saas" not in source
    assert "info=" not in source
    bench.downgrade()
    assert bench.database.dump() == before


def test_a_new_table_is_closed_to_strangers_and_logged(bench: Bench) -> None:
    bench.revise(with_note(), "note")
    insert_project = (
        "INSERT INTO projects (tenant_id, name, created_by, updated_by) "
        "VALUES (%s, 'Apollo', 'a', 'a') RETURNING id"
    )
    insert_note = (
        'INSERT INTO "order" (tenant_id, "user", secret, project_id, created_by, updated_by) '
        "VALUES (%s, 'ann', 'hidden', %s, 'a', 'a')"
    )

    with bench.database.connect(APP) as app:
        app.execute(f"SET LOCAL app.tenant_id = '{TENANT}'")
        row = app.execute(insert_project, [TENANT]).fetchone()
        app.execute(insert_note, [TENANT, row[0]])
        app.execute("""UPDATE "order" SET "user" = 'bob', secret = 'other'""")
        with pytest.raises(psycopg.errors.InsufficientPrivilege), app.transaction():
            app.execute(insert_note, [STRANGER, row[0]])
        app.execute("""DELETE FROM "order" """)
        log = app.execute(
            "SELECT action, changes -> 'old' ->> 'user', changes -> 'new' ->> 'user', "
            "changes -> 'old' ->> 'secret', changes -> 'new' ->> 'secret' FROM audit_log "
            "WHERE entity = 'order' ORDER BY id"
        ).fetchall()
        app.execute(insert_note, [TENANT, row[0]])
        app.execute(f"SET LOCAL app.tenant_id = '{STRANGER}'")
        assert app.execute('SELECT * FROM "order"').fetchall() == []

    assert log == [
        ("insert", None, "ann", None, "***"),
        ("update", "ann", "bob", "***", "***"),
        ("delete", "bob", None, "***", None),
    ]


CHANGES: dict[str, dict[str, Any]] = {
    "columns are added, masked and of another type": {
        "__annotations__": {"user": Mapped[str], "secret": Mapped[str], "limit": Mapped[str]},
        "user": mapped_column(String(99), info={"masked": True}),
        "limit": mapped_column(String(9), server_default="x"),
        "__security__": security(platform=("INSERT", "UPDATE")),
    },
    "a masked column and its check are dropped": {
        "__annotations__": {"user": Mapped[str]},
        "secret": None,
        "__table_args__": (),
    },
    "append-only, and no longer audited": {
        "__security__": security(app=("SELECT", "INSERT"), audited=False)
    },
}


@pytest.mark.parametrize("change", CHANGES)
def test_only_the_difference_is_written_and_can_be_taken_back(bench: Bench, change: str) -> None:
    old = with_note()
    new = with_note(**CHANGES[change])
    bench.revise(old, "note")
    before = bench.database.dump()

    source = bench.revise(new, "change")

    bench.assert_agrees(new)
    assert "POLICY" not in source
    assert "audit_log" not in source
    bench.downgrade()
    assert bench.database.dump() == before


def test_a_dropped_table_comes_back_with_its_guards(bench: Bench) -> None:
    bench.revise(with_note(), "note")
    before = bench.database.dump()

    bench.revise(copied(), "drop note")

    assert "order" not in bench.database.catalogue().tables
    bench.downgrade()
    assert bench.database.dump() == before


OWN_ROWS = "tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid"
DRIFT = {
    "row security and policies": f"""
        ALTER TABLE projects DISABLE ROW LEVEL SECURITY;
        ALTER TABLE tasks NO FORCE ROW LEVEL SECURITY;
        DROP POLICY tenant_fence ON members;
        ALTER POLICY tenant_isolation ON members USING (true);
        ALTER POLICY tenant_isolation ON tasks WITH CHECK (true);
        ALTER POLICY tenant_fence ON tasks TO saas_app;
        CREATE POLICY "Open!" ON projects FOR SELECT USING (is_active OR {OWN_ROWS});
        CREATE POLICY more ON projects FOR INSERT TO saas_app WITH CHECK (name <> ' :x 100%');
        CREATE POLICY other ON projects AS RESTRICTIVE FOR UPDATE USING (true) WITH CHECK (false);
        CREATE POLICY less ON projects FOR DELETE TO saas_platform USING (now() IS NOT NULL);
        CREATE POLICY called ON projects
            USING (starts_with(name, 'a)') = ('(' = name)) WITH CHECK (starts_with(name, '('))""",
    "grants": """
        GRANT UPDATE ON projects TO saas_app;
        GRANT UPDATE (tenant_id) ON tasks TO saas_app;
        REVOKE SELECT ON members FROM saas_app;
        GRANT SELECT (id, name) ON members TO saas_app;
        GRANT ALL ON audit_log TO PUBLIC;
        REVOKE SELECT ON plans FROM saas_app""",
    "triggers and functions": r"""
        DROP TRIGGER audit_row ON projects;
        ALTER TABLE tasks DISABLE TRIGGER audit_row;
        CREATE CONSTRAINT TRIGGER later AFTER INSERT ON projects DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION audit_row('x');
        DROP TRIGGER audit_row ON api_keys;
        CREATE TRIGGER audit_row AFTER UPDATE ON api_keys
            FOR EACH ROW EXECUTE FUNCTION audit_row('api_keys');
        CREATE OR REPLACE FUNCTION audit_row() RETURNS trigger LANGUAGE plpgsql AS $x$BEGIN
          -- It's :name, "quoted", 100% odd %s and \n not a line.

          RETURN NULL;	END$x$;
        GRANT EXECUTE ON FUNCTION audit_row() TO PUBLIC, saas_app;
        ALTER FUNCTION audit_row() RESET search_path;
        REVOKE EXECUTE ON FUNCTION purge_rows(text, integer) FROM saas_platform;
        GRANT EXECUTE ON FUNCTION record_access(jsonb) TO saas_app;
        DROP FUNCTION count_rows(text, text);
        REVOKE EXECUTE ON FUNCTION begin_import(jsonb) FROM saas_platform;
        GRANT EXECUTE ON FUNCTION restore_rows(text, text[], json) TO saas_app;
        DROP FUNCTION is_importing()""",
}


@pytest.mark.parametrize("fault", DRIFT)
def test_drift_is_repaired_and_can_be_restored(bench: Bench, fault: str) -> None:
    sound = bench.database.dump()
    bench.database.run("SET SESSION AUTHORIZATION saas_owner", DRIFT[fault])
    drifted = bench.database.dump()
    assert drifted != sound

    bench.revise(product_metadata, "repair")

    bench.assert_agrees(product_metadata)
    assert bench.database.dump() == sound
    bench.downgrade()
    assert bench.database.dump() == drifted


def test_pieces_of_a_statement_join_to_the_statement() -> None:
    long = "x" * 200
    for sql in (
        "",
        "SELECT 1",
        f"a {long} b",
        f"{long}\n\n {long} TO {long}\n",
        "\n\n",
        "a  TO  b ",
    ):
        assert "".join(_pieces(sql)) == sql
