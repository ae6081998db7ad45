"""The OpenAPI document tells all that a list takes, and nothing that it refuses."""

import re
from typing import Any

import pytest

LISTS = ["/v1/projects", "/v1/tasks", "/v1/members", "/v1/invitations", "/v1/audit"]


async def parameters_of(http: Any, path: str) -> dict[str, Any]:
    document = (await http.get("/openapi.json")).json()
    found = document["paths"][path]["get"]["parameters"]
    return {p["name"]: p for p in found if p.get("in") == "query"}


@pytest.mark.parametrize("path", LISTS)
async def test_every_parameter_that_a_list_takes_is_described(
    http: Any, tenant: Any, path: str
) -> None:
    described = await parameters_of(http, path)
    refused = (await tenant.get(f"{path}?colour=red")).json()["detail"]
    columns, others = re.fullmatch(r".*Allowed: (.*)\. Not fields: (.*)\.", refused).groups()
    columns = set(columns.split(", "))
    options = {"limit", "cursor", "offset", "include_total", "sort", "or", "fields"}
    if path != "/v1/audit":
        options |= {"q", "deleted"}

    operators = {name for name in described if "__" in name}
    assert described.keys() - operators == columns | options
    assert set(others.split(", ")) == options
    assert described["limit"]["schema"]["maximum"] == 100
    for name in columns:
        refused = (await tenant.get(f"{path}?{name}__x=1")).json()["detail"]
        allowed = refused.partition("Allowed: ")[2].rstrip(".").split(", ")
        assert described[name]["x-operators"] == allowed
        operators -= {f"{name}__{operator}" for operator in allowed}
    assert not operators


@pytest.mark.parametrize("path", LISTS)
async def test_every_sort_and_field_that_is_described_is_taken(
    http: Any, tenant: Any, path: str
) -> None:
    await tenant.create("projects", name="Rocket")
    described = await parameters_of(http, path)

    fields = described["fields"]["schema"]["items"]["enum"]
    assert (described["fields"]["style"], described["fields"]["explode"]) == ("form", False)
    for name in fields:
        assert (await tenant.get(f"{path}?fields={name}")).status_code == 200
    is_sort = re.compile(described["sort"]["schema"]["pattern"]).search
    for sort in ("id", "-id", "id,-created_at", "at,id", "id,-id", "id,", "--id", "colour"):
        taken = (await tenant.get(f"{path}?sort={sort}")).status_code == 200
        assert taken == (is_sort(sort) is not None), sort
    everything = ",".join(fields)
    whole = await tenant.get(path)
    assert (await tenant.get(f"{path}?fields={everything}")).json() == whole.json()


async def test_single_row_describes_its_fields_and_the_envelope_both_cursors(http: Any) -> None:
    document = (await http.get("/openapi.json")).json()
    of_row = await parameters_of(http, "/v1/projects/{id}")
    of_list = await parameters_of(http, "/v1/projects")
    answer = document["paths"]["/v1/projects"]["get"]["responses"]["200"]
    reference = answer["content"]["application/json"]["schema"]["$ref"]
    envelope = document["components"]["schemas"][reference.rpartition("/")[2]]

    assert of_row["fields"] == of_list["fields"]
    assert set(of_row) == {"fields", "as_of"}
    assert {"items", "limit", "next_cursor", "prev_cursor"} <= set(envelope["required"])
