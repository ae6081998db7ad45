"""The OpenAPI document tells all that a list takes, and nothing that it refuses."""

from typing import Any

import pytest

LISTS = ["/v1/projects", "/v1/tasks", "/v1/audit"]


async def parameters_of(http: Any, path: str) -> dict[str, Any]:
    document = (await http.get("/openapi.json")).json()
    found = document["paths"][path]["get"]["parameters"]
    return {p["name"]: p for p in found if p["in"] == "query"}


@pytest.mark.parametrize("path", LISTS)
async def test_every_parameter_that_a_list_takes_is_described(
    http: Any, tenant: Any, path: str
) -> None:
    described = await parameters_of(http, path)
    refused = (await tenant.get(f"{path}?colour=red")).json()["detail"]
    columns = set(refused.partition("Allowed: ")[2].rstrip(".").split(", "))
    options = {"limit", "cursor", "offset", "include_total", "sort", "or", "fields"}
    if path != "/v1/audit":
        options |= {"q", "deleted"}

    assert described.keys() == columns | options
    assert described["limit"]["schema"]["maximum"] == 100
    for name in columns:
        refused = (await tenant.get(f"{path}?{name}__x=1")).json()["detail"]
        allowed = refused.partition("Allowed: ")[2].rstrip(".").split(", ")
        assert described[name]["x-operators"] == allowed


@pytest.mark.parametrize("path", LISTS)
async def test_every_sort_and_field_that_is_described_is_taken(
    http: Any, tenant: Any, path: str
) -> None:
    await tenant.create("projects", name="Rocket")
    described = await parameters_of(http, path)

    for name in ("sort", "fields"):
        schema = described[name]["schema"]
        assert (described[name]["style"], described[name]["explode"]) == ("form", False)
        for value in schema["items"]["enum"]:
            assert (await tenant.get(f"{path}?{name}={value}")).status_code == 200
    everything = ",".join(described["fields"]["schema"]["items"]["enum"])
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
