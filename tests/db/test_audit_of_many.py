"""Many rows of one INSERT are logged in a shorter form, and nothing is missing in it."""

import json
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import pytest
from trigger_log import ACTOR, Log, quoted

from saas.db.audit import AuditEntry
from saas.db.audit_inserted import INSERTED
from saas.features.projects import Project

MANY = 60
STAMPS = {"version", "created_at", "created_by", "updated_at", "updated_by"}


PROJECT = {"created_by": f"'{ACTOR}'", "updated_by": f"'{ACTOR}'"}


def test_rows_of_many_read_like_one_alone(log: Log) -> None:
    project = PROJECT | {"description": "'Red'", "budget_cents": "7"}
    log.insert("projects", MANY, name="'Row ' || n", **project)
    log.insert("projects", 1, name="'Row alone'", **project)

    stored, shown = log.stored(), log.shown()

    assert {"is_new" in entry["changes"] for entry in stored[:MANY]} == {True}
    assert not STAMPS & stored[0]["changes"]["new"].keys()
    assert stored[-1]["changes"]["new"].keys() > STAMPS
    names = [entry.changes.pop("name")["new"] for entry in shown]
    assert names == [*(f"Row {n + 1}" for n in range(MANY)), "Row alone"]
    alone = shown[-1]
    assert alone.changes.keys() == STAMPS | {"description", "budget_cents", "is_active"}
    for entry in shown:
        assert entry.changes == alone.changes
        assert (entry.at, entry.action, entry.entity) == (alone.at, "insert", "projects")
        assert (entry.actor, entry.request_id, entry.ip) == (ACTOR, "request-1", "::1")


def test_entries_are_in_the_order_of_the_rows_and_of_the_statements(log: Log) -> None:
    for _ in range(3):
        log.insert("projects", MANY, name="gen_random_uuid()", **PROJECT)
        log.insert("projects", 1, name="gen_random_uuid()", **PROJECT)

    ids = [entry["id"] for entry in log.stored()]

    rows = log.run(f"SELECT id FROM projects WHERE tenant_id = '{log.tenant}' ORDER BY id")
    assert [entry["entity_id"] for entry in log.stored()] == [row["id"] for row in rows]
    assert len(set(ids)) == 3 * MANY + 3
    assert {(id.version, id.variant) for id in ids} == {(7, UUID(int=2**63).variant)}
    now = datetime.now(UTC)
    for id in ids:
        made = datetime.fromtimestamp((id.int >> 80) / 1000, UTC)
        assert abs(made - now) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("version", "2"),
        ("created_at", "'2020-01-31T09:00:00.5Z'::timestamptz"),
        ("updated_at", "'2020-01-31T09:00:00.5Z'::timestamptz"),
        ("created_by", "'member:1'"),
        ("updated_by", "'member:1'"),
        ("deleted_at", "now()"),
        ("deleted_by", "'member:1'"),
    ],
)
def test_row_that_comes_with_a_past_is_logged_whole(log: Log, column: str, value: str) -> None:
    project = PROJECT | {column: f"CASE n WHEN 1 THEN {value} ELSE {_default(column)} END"}
    log.insert("projects", MANY, name="'Row ' || n", **project)

    first, second = log.shown()[:2]

    (row,) = log.run(
        f"SELECT to_jsonb({column}) AS value FROM projects WHERE name = 'Row 1' "
        f"AND tenant_id = '{log.tenant}'"
    ).fetchall()
    assert first.changes[column] == {"old": None, "new": row["value"]}
    assert "is_new" not in log.stored()[0]["changes"]
    assert {name: first.changes[name] for name in STAMPS - {column}} == {
        name: second.changes[name] for name in STAMPS - {column}
    }


def _default(column: str) -> str:
    if column.startswith("deleted"):
        return "NULL"
    return "1" if column == "version" else "now()" if column.endswith("_at") else f"'{ACTOR}'"


def test_any_type_and_any_name_of_a_column_is_logged_alike(log: Log) -> None:
    values = {
        "r": "'The name of the row'",
        "own": "'-0.10'::numeric",
        "actor": "'{\"a\": [1, null]}'::jsonb",
        "inserted": "'{ \"b\" : 1 }'::json",
        '100% %s "Own" $1 O\'Brien': "ARRAY[1.5, 'NaN']::float8[]",
        "Ünïcode": "'2020-01-31 09:00+01'::timestamptz",
        "at": "'2020-01-31 09:00:00.10'::timestamp",
        "raw": "'\\x00ff'::bytea",
        "pair": "ROW(1, 'x')::thing_pair",
        "span": "'[1,5)'::int4range",
        "nothing": "NULL::text",
        "no_number": "NULL::int",
        "null_document": "'null'::jsonb",
        "padded": "'ä'::char(5)",
        "limited": "'äöü'::varchar(5)",
        "mood": "'so so'::thing_mood",
        "part": "0.5::thing_part",
        "length": "'1 day'::interval",
        "network": "'10.0.0.0/8'::cidr",
    }
    log.run("CREATE TYPE thing_pair AS (a int, b text)")
    log.run("CREATE TYPE thing_mood AS ENUM ('so so')")
    log.run("CREATE DOMAIN thing_part AS numeric CHECK (VALUE < 1)")
    types = [f"{quoted(name)} {_type(value)}" for name, value in values.items()]
    log.make_table(f"LIKE projects INCLUDING DEFAULTS, {', '.join(types)}")
    log.run("ALTER TABLE things DROP COLUMN description")

    for rows in (MANY, 1):
        log.insert("things", rows, name="'Same'", **values, **PROJECT)

    shown = log.shown()
    assert {"is_new" in entry["changes"] for entry in log.stored()[:MANY]} == {True}
    assert len({json.dumps(entry.changes, sort_keys=True) for entry in shown}) == 1
    given = values.keys() - {"nothing", "no_number", "null_document"}
    assert shown[0].changes.keys() == STAMPS | {"name", "is_active"} | given
    (size,) = log.sizes("things")
    assert log.counted() == [{"created": n, "live": n, "bytes": n * size} for n in (MANY, 1)]


def test_a_column_may_have_the_name_of_anything_in_the_trigger(log: Log) -> None:
    own = {"id", "tenant_id", *Project.__table__.columns.keys()}
    words = sorted(set(re.findall(r"[a-z_][a-z_0-9]*", INSERTED)) - own)
    assert {"who", "bound", "place", "ids"} < set(words)

    # jsonb_build_object takes fifty columns.
    for start in range(0, len(words), 35):
        some = words[start : start + 35]
        log.make_table("LIKE projects INCLUDING DEFAULTS")
        for name in some:
            log.run(f"ALTER TABLE things ADD {quoted(name)} text")
        log.insert("things", MANY, name="'Row ' || n", **dict.fromkeys(some, "n"), **PROJECT)
        log.insert("things", 1, name="'Alone'", **dict.fromkeys(some, "n"), **PROJECT)
        log.run("DROP TABLE things")

    shown = log.shown()
    per_table = MANY + 1
    assert len(log.sets()) == len(shown) / per_table == -(-len(words) // 35)
    for place, entry in enumerate(shown):
        number = str(place % per_table % MANY + 1)
        some = set(entry.changes) - own
        assert len(some) in {35, len(words) % 35}
        assert {entry.changes[name]["new"] for name in some} == {number}


def test_one_wide_row_does_not_make_the_sets_of_all_small(log: Log) -> None:
    wide = PROJECT | {"description": "CASE WHEN n = 700 THEN repeat('x', 50000) END"}
    log.insert("projects", 30_000, name="'Row ' || n", **wide)

    assert [row["size"] for row in log.sets()] == [100] * 300


def test_wide_rows_are_in_smaller_sets(log: Log) -> None:
    wide = PROJECT | {"description": "CASE WHEN n > 30 THEN repeat('x', 300000) END"}
    log.insert("projects", MANY, name="'Row ' || n", **wide)

    sizes = [row["size"] for row in log.sets()]
    assert sum(sizes) == MANY
    assert max(sizes[1:]) <= 4
    assert [entry.changes["name"]["new"] for entry in log.shown()] == [
        f"Row {n + 1}" for n in range(MANY)
    ]


@pytest.mark.parametrize("id", ["gen_random_uuid()", "CASE n WHEN 7 THEN gen_random_uuid() END"])
def test_rows_whose_ids_tell_no_time_are_logged_one_by_one(log: Log, id: str) -> None:
    """The range of such ids would tell nothing of where a row's entry is."""
    log.insert("projects", MANY, name="'Row ' || n", id=f"coalesce({id}, uuidv7())", **PROJECT)

    assert log.sets() == []
    assert len(log.stored()) == MANY


def _type(value: str) -> str:
    return value.rpartition("::")[2] if "::" in value else "text"


@pytest.mark.parametrize(
    "definition",
    [
        pytest.param("tenant_id uuid, id uuid DEFAULT uuidv7(), name text", id="append-only"),
        pytest.param(
            "LIKE projects INCLUDING DEFAULTS, "
            + ", ".join(f"c{number} int DEFAULT {number}" for number in range(60)),
            id="more columns than a function takes",
        ),
        pytest.param(
            "tenant_id uuid, id uuid DEFAULT uuidv7(), name text, version int DEFAULT 1, "
            "created_at timestamptz DEFAULT now()",
            id="some of the stamps",
        ),
    ],
)
def test_table_that_has_no_shorter_form_is_logged_whole(log: Log, definition: str) -> None:
    log.make_table(definition)
    has_authors = "LIKE projects" in definition

    log.insert("things", MANY, name="'Row ' || n", **(PROJECT if has_authors else {}))

    rows = log.run("SELECT to_jsonb(things.*) - '{tenant_id,id}'::text[] AS row FROM things")
    assert [entry["changes"] for entry in log.stored()] == [
        {"old": None, "new": row["row"]} for row in rows
    ]


@pytest.mark.parametrize("microsecond", [0, 1, 500_000, 123_400, 999_999])
@pytest.mark.parametrize("hours", [0, -11.5, 14])
def test_time_of_a_new_row_is_spelled_as_the_log_spells_times(
    log: Log, microsecond: int, hours: float
) -> None:
    offset = timezone(timedelta(hours=hours))
    at = datetime(2026, 1, 31, 10, 0, 0, microsecond, tzinfo=offset)
    (row,) = log.run(f"SELECT to_jsonb('{at.isoformat()}'::timestamptz) AS text").fetchall()

    changes: Any = {"is_new": True, "old": None, "new": {"name": "Apollo"}}
    entry = AuditEntry(uuid4(), at, ACTOR, None, None, "insert", "projects", uuid4(), changes)

    assert entry.changes == {
        "name": {"old": None, "new": "Apollo"},
        "version": {"old": None, "new": 1},
        "created_at": {"old": None, "new": row["text"]},
        "created_by": {"old": None, "new": ACTOR},
        "updated_at": {"old": None, "new": row["text"]},
        "updated_by": {"old": None, "new": ACTOR},
    }
