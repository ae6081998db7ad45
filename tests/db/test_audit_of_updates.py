"""Many rows of one UPDATE are logged by one statement, and it writes what each would have written
by itself."""

from typing import Any

import psycopg
import pytest
from trigger_log import Log

FEW, MANY = 3, 40
# The first two are alike but for their triggers: the one that goes by row is the measure.
TABLES = ("by_row", "by_set")
COLUMNS = """
    tenant_id uuid, id uuid, number int, version int DEFAULT 1,
    created_at timestamptz DEFAULT '2020-01-31Z', created_by text DEFAULT 'member:1',
    updated_at timestamptz DEFAULT '2020-01-31Z', updated_by text DEFAULT 'member:1',
    deleted_at timestamptz, deleted_by text,
    is_active boolean DEFAULT true, revoked_at timestamptz,
    name text DEFAULT 'Magnet',
    part thing_part DEFAULT 0.5, padded char(5) DEFAULT 'a', amount numeric DEFAULT 1.0,
    ratio float8 DEFAULT 0, document json DEFAULT '{"a": 1}', binary_document jsonb DEFAULT '{}',
    tags text[] DEFAULT '{a}',
    span interval DEFAULT '1 day', nothing jsonb DEFAULT 'null',
    pair thing_pair DEFAULT ROW(1, 'x'),
    "all" int DEFAULT 1, size int DEFAULT 1, live int, active int, columns int, done text,
    r int, o int, n int, was int, is_now int, same int, changed int, changed_to int,
    "100% %s %1$s ""Own"" $1 O'Brien" int, "CASE WHEN" int"""
CHANGES = {
    "one column": "name = 'Other'",
    "one of some rows": "name = CASE number % 2 WHEN 0 THEN 'Other' ELSE name END",
    "another of each": "name = CASE number % 2 WHEN 0 THEN 'Other' ELSE name END, "
    "size = CASE number % 2 WHEN 1 THEN 7 ELSE size END",
    "all": "name = NULL, part = 0.25, padded = 'b', amount = 1.5, "
    "ratio = 'NaN', document = '[]', binary_document = '[1, null]', tags = '{a,NULL}', "
    "pair = ROW(2, NULL)",
    "from null": "live = 1, done = 'yes', revoked_at = now()",
    "odd names": '"all" = 2, size = 2, live = 2, active = 2, columns = 2, r = 2, o = 2, n = 2, '
    "was = 2, is_now = 2, same = 2, changed = 2, changed_to = 2, "
    '"100% %s %1$s ""Own"" $1 O\'Brien" = 2, "CASE WHEN" = 2',
    "nothing": "name = name",
    "the version alone": "version = version + 1, updated_at = now()",
    "its size alone": "updated_by = 'member:1234'",
    "digits of an equal number": "amount = 1.00",
    "an interval of the same length": "span = '24 hours', size = 2",
    "two words for nothing": "nothing = NULL",
    "the sign of zero": "ratio = '-0'",
    "spaces of an equal document": """document = '{"a" :1}'""",
    "deleted": "deleted_at = now(), deleted_by = 'member:2', version = version + 1",
    "some deleted": "deleted_at = CASE number % 2 WHEN 0 THEN now() END, name = 'Other'",
    "inactive": "is_active = false",
    "neither active nor not": "is_active = NULL",
    "revoked": "revoked_at = now()",
    "the creation": "created_at = now(), created_by = 'member:2'",
}


SUMS = ", ".join(
    f"sum({name}) AS {name}"
    for name in ("created", "updated", "deleted", "live", "active", "removed", "bytes")
)


@pytest.fixture
def twins(log: Log) -> Log:
    log.run("CREATE TYPE thing_pair AS (a int, b text)")
    log.run("CREATE DOMAIN thing_part AS numeric CHECK (VALUE < 1)")
    for table in TABLES:
        make(log, table, COLUMNS)
    return log


def make(log: Log, table: str, columns: str) -> None:
    log.run(f"CREATE TABLE {table} ({columns})")
    if table == "by_row":
        log.run(
            "CREATE TRIGGER audit_row AFTER UPDATE ON by_row "
            "FOR EACH ROW EXECUTE FUNCTION audit_row('things')"
        )
    else:
        log.run(
            f"CREATE TRIGGER audit_updated AFTER UPDATE ON {table} "
            "REFERENCING OLD TABLE AS changed_from NEW TABLE AS changed_to "
            "FOR EACH STATEMENT EXECUTE FUNCTION audit_updated('things')"
        )


def fill(log: Log, rows: int) -> None:
    for table in TABLES:
        log.run(
            f"INSERT INTO {table} (tenant_id, id, number) SELECT '{log.tenant}', "
            f"md5(n::text)::uuid, n FROM generate_series(1, {rows}) AS n"
        )


def written(log: Log, table: str, change: str) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """The entries of an UPDATE by row, and what it adds to the usage."""
    return written_by(log, f"UPDATE {table} SET {change}")


def written_by(log: Log, statement: str) -> tuple[list[dict[str, Any]], dict[str, int]]:
    log.run("SAVEPOINT change")
    log.run(statement)
    entries = log.run(
        "SELECT at, actor, request_id, ip, action, entity, entity_id, changes FROM audit_log "
        f"WHERE tenant_id = '{log.tenant}' ORDER BY entity_id, id"
    ).fetchall()
    (counted,) = log.run(
        f"SELECT {SUMS}, min(at) AS at, min(actor) AS actor, min(entity) AS entity "
        f"FROM usage_changes WHERE tenant = '{log.tenant}'"
    ).fetchall()
    log.run("ROLLBACK TO SAVEPOINT change")
    return entries, counted


@pytest.mark.parametrize("rows", [1, FEW, MANY])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_set_is_logged_and_counted_as_row_by_row(twins: Log, change: str, rows: int) -> None:
    fill(twins, rows)
    by_row, by_set = (written(twins, table, change) for table in TABLES)

    assert by_set == by_row


@pytest.mark.parametrize("rows", [FEW, MANY])
def test_what_was_deleted_is_restored(twins: Log, rows: int) -> None:
    fill(twins, rows)
    for table in TABLES:
        twins.run(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        twins.run(f"UPDATE {table} SET deleted_at = '2020-01-31Z' WHERE number > 1")
        twins.run(f"ALTER TABLE {table} ENABLE TRIGGER USER")

    by_row, by_set = (written(twins, table, "deleted_at = NULL, name = 'Back'") for table in TABLES)

    assert by_set == by_row
    actions = sorted(entry["action"] for entry in by_set[0])
    assert actions == ["restore"] * (rows - 1) + ["update"]


@pytest.mark.parametrize(
    "columns",
    [
        pytest.param("tenant_id uuid, id uuid, number int, name text", id="no stamps"),
        pytest.param(
            "tenant_id uuid, id uuid, number int, name text, dropped text, "
            + ", ".join(f"c{number} int DEFAULT {number}" for number in range(60)),
            id="more columns than a function takes",
        ),
        pytest.param(
            "tenant_id uuid, id uuid, number int, name text, "
            + ", ".join(f"c{number} int" for number in range(50)),
            id="two more than it takes",
        ),
    ],
)
def test_table_of_any_shape_is_logged_alike(log: Log, columns: str) -> None:
    for table in TABLES:
        make(log, table, columns)
        if "dropped" in columns:
            log.run(f"ALTER TABLE {table} DROP COLUMN dropped")
    fill(log, MANY)

    by_row, by_set = (
        written(log, table, "name = 'Other', number = number + 1") for table in TABLES
    )

    assert by_set == by_row
    assert len(by_set[0]) == MANY


@pytest.mark.parametrize("rows", [1, FEW, MANY])
def test_row_that_loses_two_parents_at_once_is_logged_twice(log: Log, rows: int) -> None:
    for table in TABLES:
        parents = "tenant_id uuid, id uuid, PRIMARY KEY (tenant_id, id)"
        log.run(f"CREATE TABLE parents_{table} ({parents})")
        keys = ", ".join(
            f"FOREIGN KEY (tenant_id, {name}) REFERENCES parents_{table} "
            f"ON DELETE SET NULL ({name})"
            for name in ("mother", "father")
        )
        make(log, table, f"tenant_id uuid, id uuid, mother uuid, father uuid, {keys}")
        log.run(f"INSERT INTO parents_{table} VALUES ('{log.tenant}', md5('parent')::uuid)")
        log.run(
            f"INSERT INTO {table} SELECT '{log.tenant}', md5(n::text)::uuid, md5('parent')::uuid, "
            f"md5('parent')::uuid FROM generate_series(1, {rows}) AS n"
        )

    by_row, by_set = (written_by(log, f"DELETE FROM parents_{table}") for table in TABLES)

    changes = [entry.pop("changes")["old"].keys() for entry in by_set[0]]
    assert sorted(map(list, changes)) == [["father"]] * rows + [["mother"]] * rows
    for entry in by_row[0]:
        del entry["changes"]
    assert by_set == by_row


@pytest.mark.parametrize("rows", [1, FEW, MANY])
def test_no_cursor_stays_open(twins: Log, rows: int) -> None:
    fill(twins, rows)
    twins.run("UPDATE by_set SET name = 'Other'")

    assert (
        twins.run("SELECT name FROM pg_cursors WHERE statement LIKE '%changed_%'").fetchall() == []
    )


def test_rows_that_no_statement_found_leave_no_trace(twins: Log) -> None:
    assert written(twins, "by_set", "name = 'Other'")[0] == []


@pytest.mark.parametrize("rows", [1, FEW, MANY])
@pytest.mark.parametrize("change", ["id = md5(id::text)::uuid", "tenant_id = gen_random_uuid()"])
def test_a_row_keeps_its_key(twins: Log, change: str, rows: int) -> None:
    fill(twins, rows)
    with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="keeps its tenant_id"):
        twins.run(f"UPDATE by_set SET {change} WHERE number = 1 OR number > 2")


@pytest.mark.parametrize("rows", [FEW, MANY])
def test_rows_of_an_upsert_are_new_or_changed(twins: Log, rows: int) -> None:
    twins.run("CREATE UNIQUE INDEX ON by_set (number)")
    fill(twins, rows)
    twins.run(
        "INSERT INTO by_set (tenant_id, id, number) "
        f"SELECT '{twins.tenant}', uuidv7(), n FROM generate_series(2, {rows + 5}) AS n "
        "ON CONFLICT (number) DO UPDATE SET name = 'Other'"
    )

    actions = [entry["action"] for entry in twins.stored()]
    assert actions == ["update"] * (rows - 1)
