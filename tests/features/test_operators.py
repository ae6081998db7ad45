"""Every operator of every column, as a filter and in `or`, against plain Python."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest
from shelves import stocked

from saas.db.query_values import operators_of
from saas.features.projects import projects
from saas.features.tasks import tasks

SYMBOLS: dict[str, Any] = {
    "eq": lambda value, operand: value == operand,
    "ne": lambda value, operand: value != operand,
    "lt": lambda value, operand: value < operand,
    "lte": lambda value, operand: value <= operand,
    "gt": lambda value, operand: value > operand,
    "gte": lambda value, operand: value >= operand,
    "in": lambda value, operand: value == operand,
    "nin": lambda value, operand: value != operand,
    "like": lambda value, operand: value.startswith(operand[:2]),
    "ilike": lambda value, operand: value.lower().startswith(operand[:2].lower()),
    "contains": lambda value, operand: operand in value,
    "icontains": lambda value, operand: operand.lower() in value.lower(),
    "startswith": lambda value, operand: value.startswith(operand),
}


@pytest.fixture(scope="module")
async def shelf(onboard):
    tenant = await stocked(onboard)
    (task, *_) = (await tenant.get("/v1/tasks?sort=title")).json()["items"]
    await tenant.patch(f"/v1/tasks/{task['id']}", {"assignee_id": tenant.owner_id})
    return tenant


def written(operator: str, value: Any, in_group: bool) -> str:
    """`value` as the caller writes it for `operator`."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if operator in {"like", "ilike"}:
        text = text[:2].replace("\\", "\\\\") + "%"
    if isinstance(value, datetime):
        text = value.isoformat()
    if not in_group:
        return text
    quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"({quoted})" if operator in {"in", "nin"} else quoted


async def ids(tenant: Any, path: str, name: str, text: str) -> set[str]:
    answer = await tenant.get(path, params={name: text, "limit": 100, "fields": "id"})
    assert answer.status_code == 200, answer.text
    return {row["id"] for row in answer.json()["items"]}


@pytest.mark.parametrize("resource", [projects, tasks], ids=lambda resource: resource.name)
async def test_operator_finds_what_python_finds(shelf: Any, resource: Any) -> None:
    whole = (await shelf.get(resource.path, params={"limit": 100})).json()["items"]
    seen: set[type] = set()

    for name, column in resource.repository.grammar.columns.items():
        kind = column.type.python_type
        values = {row["id"]: row[name] for row in whole}
        if kind in {UUID, datetime, date}:
            values = {id: msgspec.convert(v, kind | None) for id, v in values.items()}
        known = {id: value for id, value in values.items() if value is not None}
        seen |= {kind} if known else set()
        for operator in set(operators_of(column)) - {"isnull"}:
            for operand in [value for value in set(known.values()) if "," not in str(value)]:
                expected = {id for id, v in known.items() if SYMBOLS[operator](v, operand)}
                plain, grouped = (written(operator, operand, group) for group in (False, True))
                text = f"({name}.{operator}.{grouped})"
                assert await ids(shelf, resource.path, f"{name}__{operator}", plain) == expected
                assert await ids(shelf, resource.path, "or", text) == expected
        if column.nullable:
            for is_null in (True, False):
                expected = {id for id in values if (id not in known) == is_null}
                text = str(is_null).lower()
                assert await ids(shelf, resource.path, f"{name}__isnull", text) == expected
                assert await ids(shelf, resource.path, "or", f"({name}.isnull.{text})") == expected

    assert seen >= {str, int, UUID, datetime}


async def test_moment_is_the_same_in_every_offset(shelf: Any) -> None:
    rows = (await shelf.get("/v1/projects?sort=created_at")).json()["items"]
    moment = datetime.fromisoformat(rows[1]["created_at"])

    for hours in ("+00:00", "+14:00", "-11:30"):
        offset = datetime.strptime(hours, "%z").tzinfo
        text = moment.astimezone(offset).isoformat()
        assert await ids(shelf, "/v1/projects", "created_at", text) == {rows[1]["id"]}
        assert await ids(shelf, "/v1/projects", "created_at__lt", text) == {rows[0]["id"]}


async def test_list_of_a_hundred_values_is_taken(shelf: Any) -> None:
    (row, *_) = (await shelf.get("/v1/projects")).json()["items"]
    others = [str(UUID(int=number)) for number in range(99)]

    for name, values in (("id__in", [*others, row["id"]]), ("version__in", ["1"] * 100)):
        found = await ids(shelf, "/v1/projects", name, ",".join(values))
        assert row["id"] in found
    assert row["id"] not in await ids(
        shelf, "/v1/projects", "id__nin", ",".join([*others, row["id"]])
    )
    refused = await shelf.get("/v1/projects", params={"version__in": ",".join(["1"] * 101)})
    assert refused.status_code == 400


async def test_value_longer_than_its_column_is_compared_whole(tenant: Any) -> None:
    """A cast to varchar(120) would cut it, and then it would be the name of a row."""
    row = await tenant.create("projects", name="N" * 120)
    longer = "N" * 121

    for operator, finds in {"eq": False, "in": False, "ne": True, "nin": True}.items():
        expected = {row["id"]} if finds else set()
        group = f"(name.{operator}.{written(operator, longer, True)})"
        assert await ids(tenant, "/v1/projects", f"name__{operator}", longer) == expected
        assert await ids(tenant, "/v1/projects", "or", group) == expected
    assert await ids(tenant, "/v1/projects", "name__in", f"{longer},{row['name']}") == {row["id"]}
