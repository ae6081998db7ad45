"""What is logged by the hundred is read one by one: every list of entries is that of a log without
sets, and opens few of them."""

import random
import re
from collections.abc import Callable
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Uuid, bindparam, select
from trigger_log import ACTOR, Log

from saas.db.audit import AUDIT_ENTRIES
from saas.db.filters import parameters
from saas.db.query import Condition, ListQuery, SortKey
from saas.db.roles import APP
from saas.db.statements import Statement, select_all, select_one, select_page

PROJECT = {"created_by": f"'{ACTOR}'", "updated_by": f"'{ACTOR}'"}
COLUMNS = ("id", "at", "actor", "request_id", "ip", "action", "entity", "entity_id", "changes")
OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda found, value: found == value,
    "ne": lambda found, value: found != value,
    "lt": lambda found, value: found < value,
    "lte": lambda found, value: found <= value,
    "gt": lambda found, value: found > value,
    "gte": lambda found, value: found >= value,
    "in": lambda found, value: found in value,
    "nin": lambda found, value: found not in value,
}


@pytest.fixture
def lived_in(log: Log) -> Log:
    """Sets of many sizes between entries of single rows, on two tables and of two requests."""
    log.make_table("LIKE projects INCLUDING DEFAULTS")
    for number, rows in enumerate((1, 50, 3, 230, 99, 1, 100, 1, 101, 2)):
        table = "things" if number % 3 == 2 else "projects"
        log.run(f"SET LOCAL app.request_id = 'request-{number % 2}'")
        project = PROJECT | {"version": f"1 + (n % {number + 2} = 1)::int"}
        log.insert(table, rows, name=f"'{number} ' || n", **project)
        log.run(f"UPDATE projects SET budget_cents = {number} WHERE name LIKE '% 7'")
        if rows > 99:
            log.run(
                "UPDATE projects SET is_active = NOT is_active, deleted_at = CASE "
                "WHEN name LIKE '%1' AND deleted_at IS NULL THEN now() END"
            )
    return log


def page(log: Log, query: ListQuery, columns: tuple[str, ...] = COLUMNS) -> list[dict[str, Any]]:
    rows = AUDIT_ENTRIES.rows(query)
    statement = Statement(select_page(rows, columns, query, ())).named
    values = {**parameters(query), "tenant_id": log.tenant}
    return log.run(statement.sql, statement.arguments(values)).fetchall()


def total(log: Log, query: ListQuery) -> int:
    statement = Statement(AUDIT_ENTRIES.count(query)).named
    values = {**parameters(query), "tenant_id": log.tenant}
    row = log.run(statement.sql, statement.arguments(values)).fetchone()
    assert row
    (count,) = row.values()
    return int(count)


def test_every_page_is_that_of_a_log_without_sets(lived_in: Log) -> None:
    everything = lived_in.stored()
    sets = lived_in.sets()
    new = [row["size"] for row in sets if row["action"] == "insert"]
    assert sum(new) == 50 + 230 + 99 + 100 + 101
    assert {row["action"] for row in sets} == {"insert", "update", "soft_delete", "restore"}
    assert [entry["id"] for entry in everything] == sorted({entry["id"] for entry in everything})
    chance = random.Random(17)

    for _ in range(250):
        conditions = tuple(
            _condition(chance, everything) for _ in range(chance.choice((0, 0, 1, 2)))
        )
        any_of = tuple(_condition(chance, everything) for _ in range(chance.choice((0, 0, 0, 2))))
        fit = [
            entry
            for entry in everything
            if all(_fulfils(entry, c) for c in conditions)
            and (not any_of or any(_fulfils(entry, c) for c in any_of))
        ]
        key = chance.choice(["id", "id", "id", "at", "action", "request_id", "entity_id"])
        keys = (key,) if key == "id" else (key, "id")
        sort = tuple(SortKey(name, chance.random() < 0.5) for name in keys)
        for by in reversed(sort):
            fit.sort(key=itemgetter(by.column), reverse=by.descending)
        limit = chance.choice((1, 20, 100))
        place = chance.choice(["first", "after", "before", "offset"])
        begin = chance.randrange(len(fit) + 1)
        position = _position(fit[begin], sort) if begin < len(fit) else None
        query = ListQuery(conditions=conditions, any_of=any_of, sort=sort, limit=limit)
        if place == "offset":
            query = _with(query, offset=begin)
            expected = fit[begin:]
        elif place == "after" and position:
            query = _with(query, after=position)
            expected = fit[begin + 1 :]
        elif place == "before":
            query = _with(query, before=position or ())
            expected = fit[:begin][::-1]
        else:
            expected = fit

        assert page(lived_in, query) == expected[: limit + 1], query
        assert total(lived_in, query) == len(fit), query


def _with(query: ListQuery, **changes: Any) -> ListQuery:
    return ListQuery(**{name: getattr(query, name) for name in query.__struct_fields__} | changes)


def _condition(chance: random.Random, everything: list[dict[str, Any]]) -> Condition:
    column = chance.choice(["id", "entity_id", "entity", "action", "request_id"])
    operator = chance.choice(list(OPERATORS))
    values = tuple(chance.choice(everything)[column] for _ in range(3))
    return Condition(column, operator, values if operator in {"in", "nin"} else values[0])


def _fulfils(entry: dict[str, Any], condition: Condition) -> bool:
    return OPERATORS[condition.operator](entry[condition.column], condition.value)


def _position(entry: dict[str, Any], sort: tuple[SortKey, ...]) -> tuple[Any, ...]:
    return tuple(entry[key.column] for key in sort)


def test_bounds_of_ids_hold_where_sets_are_small(log: Log) -> None:
    """Of wide rows a set has few, so that many begin a hundred ids before a bound."""
    wide = PROJECT | {"description": "repeat('x', 600000)"}
    log.insert("projects", 60, name="'Row ' || n", **wide)
    assert max(row["size"] for row in log.sets()) <= 2
    ids = [entry["id"] for entry in log.stored()]

    for place in (0, 1, 29, 30, 58, 59):
        for operator, fulfils in OPERATORS.items():
            value = (ids[place],) if operator in {"in", "nin"} else ids[place]
            fit = [id for id in ids if fulfils(id, value)]
            for limit, descends in ((1, False), (20, False), (20, True)):
                query = ListQuery(
                    conditions=(Condition("id", operator, value),),
                    sort=(SortKey("id", descends),),
                    limit=limit,
                )
                found = page(log, query, ("id",))
                expected = fit[::-1] if descends else fit
                assert [row["id"] for row in found] == expected[: limit + 1], query


def test_an_entry_is_read_alone_and_all_in_a_stream(lived_in: Log) -> None:
    everything = lived_in.stored()
    rows = AUDIT_ENTRIES.rows()
    alone = AUDIT_ENTRIES.row(bindparam("id", type_=Uuid()))
    one = Statement(select_one(alone, COLUMNS, include_deleted=False)).named
    ordered, order = AUDIT_ENTRIES.in_order()
    archived = Statement(select(ordered.c.id).order_by(*order)).named
    all_in_order = ListQuery(sort=(SortKey("id", True),), limit=0)
    stream = Statement(select_all(rows, COLUMNS, all_in_order, ())).named
    tenant = {"tenant_id": lived_in.tenant}

    for entry in (everything[0], everything[100], everything[-1]):
        found = lived_in.run(one.sql, one.arguments({**tenant, "id": entry["id"]})).fetchall()
        assert found == [entry]
    assert lived_in.run(stream.sql, stream.arguments(tenant)).fetchall() == everything[::-1]
    in_archive = lived_in.run(archived.sql, archived.arguments(tenant)).fetchall()
    assert [row["id"] for row in in_archive] == [entry["id"] for entry in everything]


def test_a_page_opens_few_sets_and_an_entry_of_one_row_those_around_it(log: Log) -> None:
    log.insert("projects", 5_000, name="'Row ' || n", **PROJECT)
    log.insert("projects", 5_000, name="'More ' || n", **PROJECT)
    log.run("ANALYZE audit_sets")
    assert len(log.sets()) == 100
    middle = log.stored()[5_050]
    newest_first = (SortKey("id", True),)

    assert _opened(log, ListQuery(sort=newest_first)) <= 3
    assert _opened(log, ListQuery(sort=newest_first, after=(middle["id"],))) <= 3
    assert _opened(log, ListQuery(sort=newest_first, before=(middle["id"],))) <= 3
    assert _opened(log, ListQuery(sort=newest_first, offset=1_000)) <= 13
    assert _opened(log, ListQuery(sort=(SortKey("at", True), *newest_first))) <= 3
    for operator in ("lt", "gte", "ne"):
        bound = (Condition("id", operator, middle["id"]),)
        for sort in (newest_first, (SortKey("id", False),)):
            assert _opened(log, ListQuery(sort=sort, conditions=bound)) <= 4
    for column in ("id", "entity_id"):
        for one in (
            Condition(column, "eq", middle[column]),
            Condition(column, "in", (middle[column],)),
        ):
            assert _opened(log, ListQuery(sort=newest_first, conditions=(one,))) == 1
            assert _opened(log, ListQuery(sort=newest_first, any_of=(one, one))) == 1


def _opened(log: Log, query: ListQuery) -> int:
    rows = AUDIT_ENTRIES.rows(query)
    statement = Statement(select_page(rows, COLUMNS, query, ())).named
    values = {**parameters(query), "tenant_id": log.tenant}
    plan = log.run(
        f"EXPLAIN (ANALYZE, FORMAT JSON) {statement.sql}", statement.arguments(values)
    ).fetchone()
    assert plan
    nodes = [plan["QUERY PLAN"][0]["Plan"]]
    for node in nodes:
        nodes += node.get("Plans", [])
    return sum(node["Actual Loops"] for node in nodes if node.get("Alias") == "entry")


def test_sql_of_the_page_on_history_reads_the_same(lived_in: Log) -> None:
    page = Path("docs/history.md").read_text(encoding="utf-8")
    (text,) = re.findall("```sql\n(.*?)```", page, flags=re.DOTALL)

    logged = lived_in.stored()
    lived_in.run(f"SET LOCAL ROLE {APP}")
    found = lived_in.run(f"SELECT * FROM ({text}) AS entries ORDER BY id").fetchall()

    shown = [{name: entry[name] for name in found[0]} for entry in logged]
    assert len(found[0]) == 7
    assert found == shown
