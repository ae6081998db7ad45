"""Many rows of one UPDATE are logged by one statement, from fifty on in sets, and it writes what
each would have written by itself."""

import re
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from trigger_log import Log, quoted

from saas.db.audit_functions import AUDIT_FUNCTIONS

FEW, MANY, IN_SETS = 3, 40, 130
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


# A UUIDv7 of the row n.
ID = "('01990000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid"
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
            f"{ID}, n FROM generate_series(1, {rows}) AS n"
        )


def change_unseen(log: Log, change: str) -> None:
    for table in TABLES:
        log.run(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        log.run(f"UPDATE {table} SET {change}")
        log.run(f"ALTER TABLE {table} ENABLE TRIGGER USER")


def written(log: Log, table: str, change: str) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """The entries of an UPDATE by row, and what it adds to the usage."""
    return written_by(log, f"UPDATE {table} SET {change}")


def written_by(log: Log, statement: str) -> tuple[list[dict[str, Any]], dict[str, int]]:
    log.run("SAVEPOINT change")
    log.run(statement)
    entries = sorted(log.stored(), key=lambda entry: (entry["entity_id"], entry.pop("id")))
    (counted,) = log.run(
        f"SELECT {SUMS}, min(at) AS at, min(actor) AS actor, min(entity) AS entity "
        f"FROM usage_changes WHERE tenant = '{log.tenant}'"
    ).fetchall()
    log.run("ROLLBACK TO SAVEPOINT change")
    return entries, counted


@pytest.mark.parametrize("rows", [1, FEW, MANY, IN_SETS])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_set_is_logged_and_counted_as_row_by_row(twins: Log, change: str, rows: int) -> None:
    fill(twins, rows)
    by_row, by_set = (written(twins, table, change) for table in TABLES)

    assert by_set == by_row


@pytest.mark.parametrize("rows", [FEW, MANY, IN_SETS])
def test_what_was_deleted_is_restored(twins: Log, rows: int) -> None:
    fill(twins, rows)
    change_unseen(twins, "deleted_at = '2020-01-31Z' WHERE number > 1")

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
        pytest.param(
            "tenant_id uuid, id uuid, number int, name text, "
            + ", ".join(f"c{number} int" for number in range(900)),
            id="more columns than two rows of a join have",
        ),
        pytest.param(
            "tenant_id uuid, id uuid, number int, name text, "
            "next int GENERATED ALWAYS AS (number + 1) VIRTUAL, "
            "last int GENERATED ALWAYS AS (number - 1) STORED",
            id="generated columns",
        ),
    ],
)
@pytest.mark.parametrize("rows", [MANY, IN_SETS])
def test_table_of_any_shape_is_logged_alike(log: Log, columns: str, rows: int) -> None:
    for table in TABLES:
        make(log, table, columns)
        if "dropped" in columns:
            log.run(f"ALTER TABLE {table} DROP COLUMN dropped")
    fill(log, rows)

    by_row, by_set = (
        written(log, table, "name = 'Other', number = number + 1") for table in TABLES
    )

    assert by_set == by_row
    assert len(by_set[0]) == rows


@pytest.mark.parametrize("rows", [1, FEW, MANY, IN_SETS])
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
            f"INSERT INTO {table} SELECT '{log.tenant}', {ID}, md5('parent')::uuid, "
            f"md5('parent')::uuid FROM generate_series(1, {rows}) AS n"
        )

    by_row, by_set = (written_by(log, f"DELETE FROM parents_{table}") for table in TABLES)

    changes = [entry.pop("changes")["old"].keys() for entry in by_set[0]]
    assert sorted(map(list, changes)) == [["father"]] * rows + [["mother"]] * rows
    for entry in by_row[0]:
        del entry["changes"]
    assert by_set == by_row


@pytest.mark.parametrize("rows", [1, FEW, MANY, IN_SETS])
def test_no_cursor_stays_open(twins: Log, rows: int) -> None:
    fill(twins, rows)
    twins.run("UPDATE by_set SET name = 'Other'")

    assert (
        twins.run("SELECT name FROM pg_cursors WHERE statement LIKE '%changed_%'").fetchall() == []
    )


def test_rows_that_no_statement_found_leave_no_trace(twins: Log) -> None:
    assert written(twins, "by_set", "name = 'Other'")[0] == []


@pytest.mark.parametrize("rows", [1, FEW, MANY, IN_SETS])
@pytest.mark.parametrize("change", ["id = md5(id::text)::uuid", "tenant_id = gen_random_uuid()"])
def test_a_row_keeps_its_key(twins: Log, change: str, rows: int) -> None:
    fill(twins, rows)
    with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="keeps its tenant_id"):
        twins.run(f"UPDATE by_set SET {change} WHERE number = 1 OR number > 2")


@pytest.mark.parametrize("rows", [FEW, MANY, IN_SETS])
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


def test_sets_hold_what_changed_in_the_order_of_the_ids(twins: Log) -> None:
    fill(twins, IN_SETS)
    twins.run("UPDATE by_set SET name = 'Other', live = number, version = 2, updated_by = 'me'")

    first, second = twins.sets()

    rows = twins.run("SELECT id FROM by_set ORDER BY number").fetchall()
    assert [*first["ids"], *second["ids"]] == [row["id"] for row in rows]
    assert (first["size"], second["size"]) == (100, 30)
    for entries in first, second:
        assert (entries["first_id"], entries["last_id"]) == (entries["ids"][0], entries["ids"][-1])
        assert entries["action"] == "update"
    assert first["columns"] == {"name": ["Other"] * 100, "live": list(range(1, 101))}
    assert first["old_columns"] == {"name": ["Magnet"] * 100, "live": [None] * 100}
    assert first["id"].int + 100 == second["id"].int


def test_rows_of_which_each_had_another_thing_done(twins: Log) -> None:
    """Those with which nothing happened have no entry, and each action has its own sets."""
    fill(twins, 4 * IN_SETS)
    twins.run("SAVEPOINT change")
    change_unseen(twins, "deleted_at = '2020-01-31Z' WHERE number % 4 = 1")
    change = (
        "deleted_at = CASE number % 4 WHEN 2 THEN now() END,"
        " name = CASE number % 4 WHEN 3 THEN 'Other' ELSE name END"
    )
    by_row, by_set = (written(twins, table, change) for table in TABLES)

    assert by_set == by_row
    twins.run(f"UPDATE by_set SET {change}")
    sets, entries = twins.sets(), twins.stored()
    done = {name: [e for e in entries if e["action"] == name] for name in ("update", "restore")}
    assert [len(some) for some in done.values()] == [IN_SETS] * 2
    assert len({entry["id"] for entry in entries}) == len(entries) == 3 * IN_SETS
    actions = ("restore", "soft_delete", "update")
    assert sorted(row["action"] for row in sets) == sorted(4 * actions)
    assert sum(row["size"] for row in sets) == 3 * IN_SETS


@pytest.mark.parametrize(
    "ids",
    [
        pytest.param("gen_random_uuid()", id="not one tells its time"),
        pytest.param(f"CASE n WHEN 7 THEN gen_random_uuid() ELSE {ID} END", id="one does not"),
    ],
)
def test_rows_whose_ids_tell_no_time_are_logged_one_by_one(twins: Log, ids: str) -> None:
    for table in TABLES:
        twins.run(
            f"INSERT INTO {table} (tenant_id, id, number) SELECT '{twins.tenant}', {ids}, n "
            f"FROM generate_series(1, {IN_SETS}) AS n"
        )
    twins.run("UPDATE by_row SET id = s.id FROM by_set AS s WHERE s.number = by_row.number")
    twins.run("DELETE FROM audit_log; DELETE FROM usage_changes")
    by_row, by_set = (written(twins, table, "name = 'Other'") for table in TABLES)

    assert by_set == by_row
    twins.run("UPDATE by_set SET name = 'Other'")
    assert twins.sets() == []


@pytest.mark.parametrize("bound", [True, False])
def test_rows_of_several_tenants_are_logged_one_by_one(twins: Log, bound: bool) -> None:
    """As by a migration that lifts row-level security, maybe that of the log alone."""
    tenants = [twins.tenant, uuid4()]
    fill(twins, 2 * IN_SETS)
    change_unseen(twins, f"tenant_id = '{tenants[1]}' WHERE number % 2 = 0")
    for table in ("audit_log", "usage_changes"):
        twins.run(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    if not bound:
        twins.run("SET LOCAL app.tenant_id = ''")

    found = []
    for table in TABLES:
        twins.run("SAVEPOINT change")
        twins.run(f"UPDATE {table} SET name = 'Other', number = number + 1")
        assert twins.run("SELECT FROM audit_sets WHERE action <> 'insert'").fetchall() == []
        entries = twins.run(
            "SELECT tenant_id, action, entity_id, changes FROM audit_log "
            "WHERE tenant_id = ANY (%s) ORDER BY entity_id",
            [tenants],
        )
        counted = twins.run(
            f"SELECT tenant, {SUMS} FROM usage_changes WHERE tenant = ANY (%s) "
            "GROUP BY tenant ORDER BY tenant",
            [tenants],
        )
        found.append((entries.fetchall(), counted.fetchall()))
        twins.run("ROLLBACK TO SAVEPOINT change")

    assert found[1] == found[0]
    assert len(found[0][0]) == 2 * IN_SETS
    assert len(found[0][1]) == 2


def test_wide_rows_are_in_smaller_sets(twins: Log) -> None:
    fill(twins, IN_SETS)
    twins.run("UPDATE by_set SET name = repeat('x', 10000)")
    twins.run("UPDATE by_set SET name = repeat('y', 10000)")

    twins.run("UPDATE by_set SET live = 7")

    sizes = [row["size"] for row in twins.sets()]
    assert sizes == [9] * 14 + [4] + [5] * 26 + [100, 30]


def test_sets_are_of_the_rows_that_changed(twins: Log) -> None:
    fill(twins, 10 * IN_SETS)
    twins.run("UPDATE by_set SET name = CASE WHEN number % 10 = 3 THEN 'Other' ELSE name END")

    assert [row["size"] for row in twins.sets()] == [100, 30]


def test_values_that_take_no_bytes_are_logged(twins: Log) -> None:
    fill(twins, IN_SETS)
    change_unseen(twins, "name = NULL, done = repeat('x', 10000)")

    by_row, by_set = (written(twins, table, "name = ''") for table in TABLES)

    assert by_set == by_row
    assert by_set[0][0]["changes"] == {"old": {"name": None}, "new": {"name": ""}}


def test_numbers_that_the_log_spells_alike_are_no_change(twins: Log) -> None:
    """As a client with an old driver may have set it."""
    twins.run("SET LOCAL extra_float_digits = 0")
    fill(twins, IN_SETS)
    change_unseen(twins, "ratio = 0.3")
    by_row, by_set = (written(twins, table, "ratio = 0.30000000000000004") for table in TABLES)

    assert by_set == by_row
    assert by_set[0] == []


def test_a_column_may_have_the_name_of_anything_in_the_trigger(log: Log) -> None:
    body = next(function.body for function in AUDIT_FUNCTIONS if function.name == "audit_updated")
    own = {"tenant_id", "id", "number", "version", "updated_at", "updated_by"}
    words = sorted(set(re.findall(r"[a-z_][a-z_0-9]*", body)) - own - {"deleted_at", "revoked_at"})
    assert {"who", "bound", "place", "done", "c", "d", "o", "n"} < set(words)
    words += [f"d{number}" for number in range(1, 60)]
    columns = ", ".join(f"{quoted(word)} text" for word in words)
    for table in TABLES:
        make(log, table, f"tenant_id uuid, id uuid, number int, {columns}")
    fill(log, IN_SETS)

    change = ", ".join(f"{quoted(word)} = number" for word in words)
    by_row, by_set = (written(log, table, change) for table in TABLES)

    assert len(by_set[0][0]["changes"]["new"]) == len(words)
    assert by_set == by_row
