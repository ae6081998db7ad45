"""Reading a legacy database by its keys."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine

from saas.errors import ConfigurationError
from saas.legacy.map import TableMap
from saas.legacy.source import Key, SourceRow, SourceTable, open_source

Legacy = Callable[..., Engine]


def table(engine: Engine, *wanted: str, source: str = "things", key: Any = "id") -> SourceTable:
    columns: dict[str, Any] = {"name": wanted[0]}
    map = TableMap(source=source, key=key, resource="projects", columns=columns)
    return SourceTable(engine, map, wanted)


def walked(source: SourceTable, size: int) -> list[SourceRow]:
    found: list[SourceRow] = []
    after: Key | None = None
    while batch := source.batch(after, size):
        assert len(batch) <= size
        found += batch
        after = batch[-1].key
    return found


def test_every_row_comes_once_in_the_order_of_its_key(legacy: Legacy) -> None:
    rows = [(n * 3 % 101, f"n{n}") for n in range(101)]
    engine = legacy("CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT)", things=rows)

    for size in (1, 7, 101, 1_000):
        found = walked(table(engine, "name"), size)
        assert [(row.key[0], row.values and row.values[0]) for row in found] == sorted(rows)
    assert table(engine, "name").count() == 101


def test_key_may_have_several_columns(legacy: Legacy) -> None:
    rows = [(part, n, f"{part}{n}") for n in range(5) for part in ("b", "a", "c")]
    engine = legacy(
        "CREATE TABLE things (part TEXT, n INTEGER, name TEXT, PRIMARY KEY (part, n))", things=rows
    )

    found = walked(table(engine, "name", key=["part", "n"]), 4)

    assert [(*row.key, *(row.values or ())) for row in found] == sorted(rows)


def test_view_is_a_table_too(legacy: Legacy) -> None:
    engine = legacy(
        "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, spam INTEGER);"
        "CREATE VIEW things AS SELECT id, name FROM users WHERE NOT spam",
        users=[(1, "Ada", 0), (2, "Bot", 1), (3, "Cy", 0)],
    )

    found = walked(table(engine, "name"), 1)

    assert [row.values and row.values[0] for row in found] == ["Ada", "Cy"]


def test_row_that_the_driver_cannot_read_costs_no_other(legacy: Legacy) -> None:
    rows = [(n, b"\xff\xfe" if n in (1, 5, 6, 9) else f"n{n}".encode()) for n in range(1, 10)]
    engine = legacy("CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT)", things=rows)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE things SET name = CAST(name AS TEXT)")

    for size in (1, 2, 4, 50):
        found = walked(table(engine, "name"), size)
        assert [row.key[0] for row in found] == list(range(1, 10))
        assert [row.key[0] for row in found if row.values is None] == [1, 5, 6, 9]
        assert all("UTF-8" in row.fault for row in found if row.values is None)


def test_what_is_not_there_is_refused_by_its_name(legacy: Legacy) -> None:
    engine = legacy("CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT)")

    for refused, words in (
        (lambda: table(engine, "name", source="nothing"), "no table 'nothing'"),
        (lambda: table(engine, "title"), "things has no column 'title'; it has id, name"),
        (lambda: table(engine, "name", key="number"), "no column 'number'"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            refused()


@pytest.mark.parametrize("rows", [[(1, "a"), (1, "b")], [(1, "a"), (None, "b")]])
def test_key_that_would_leave_rows_out_is_refused(legacy: Legacy, rows: Any) -> None:
    engine = legacy("CREATE TABLE things (id INTEGER, name TEXT)", things=rows)

    with pytest.raises(ConfigurationError, match="id is no key of things"):
        table(engine, "name")
    assert len(walked(table(engine, "id", key="name"), 1)) == 2


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("legacy.db", "no SQLAlchemy URL"),
        ("sqlite:////no/such/legacy.db", "no SQLite file /no/such/legacy.db"),
        ("sqlite://", "no SQLite file"),
        ("nosuch://host/db", "knows no database 'nosuch'"),
        ("mysql+pymysql://user:secret@host/db", "mysql.pymysql needs the Python module pymysql"),
    ],
)
def test_address_that_leads_nowhere_is_refused_without_its_password(url: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as refused:
        open_source(url)
    assert "secret" not in str(refused.value)


def test_source_that_is_away_is_told_in_a_line() -> None:
    engine = open_source("postgresql+psycopg://nobody:secret@127.0.0.1:1/nothing")

    with pytest.raises(ConfigurationError, match="cannot read things") as refused:
        table(engine, "name")
    assert "\n" not in str(refused.value)
    assert "secret" not in str(refused.value)
    engine.dispose()
