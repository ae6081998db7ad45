"""The documentation works without internet and shows what the API really answers."""

import re
from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import get, patch, post
from litestar.params import FromPath, JSONBody
from scratch import serving


class Part(msgspec.Struct, forbid_unknown_fields=True):
    size: int


class Thing(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    parts: list[Part] = []
    weight: Annotated[int, msgspec.Meta(ge=0, le=9)] | msgspec.UnsetType | None = msgspec.UNSET


class Shown(msgspec.Struct):
    name: str
    seen_at: datetime | None = None


@get("/v1/things", opt={"permission": "things:read"})
async def list_things() -> list[Shown]:
    """What the caller may see."""
    return []


@post("/v1/things", opt={"permission": "things:write"})
async def make_thing(data: JSONBody[Thing]) -> Shown:
    return Shown(data.name)


@patch("/v1/things/{id:str}")
async def change_thing(id: FromPath[str], data: JSONBody[Thing | None] = None) -> Shown:
    return Shown(id)


@get("/v1/admin/things", opt={"plane": "platform"})
async def list_all() -> list[Shown]:
    return []


@get("/livez", opt={"plane": "open"})
async def live() -> None: ...


ROUTES = [list_things, make_thing, change_thing, list_all, live]


async def read_document() -> Any:
    async with serving(ROUTES) as http:
        return (await http.get("/openapi.json")).json()


async def test_page_and_what_it_loads_come_from_this_server() -> None:
    async with serving(ROUTES) as http:
        page = await http.get("/docs")
        parts = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        loaded = [await http.get(part) for part in parts]
        start = await http.get("/docs/start.js")

    assert page.status_code == 200
    assert "http:" not in page.text
    assert "https:" not in page.text
    assert len(parts) == 4
    assert {part.status_code for part in loaded} == {200}
    assert all(part.startswith("/docs/") for part in parts)
    assert '"/openapi.json"' in start.text
    assert "validatorUrl: null" in start.text


async def test_page_has_a_policy_of_its_own() -> None:
    async with serving(ROUTES) as http:
        page = await http.get("/docs")
        document = await http.get("/openapi.json")

    (policy,) = page.headers.get_list("Content-Security-Policy")
    assert "script-src 'self'" in policy
    assert "unsafe-inline" not in policy.split("style-src")[0]
    assert document.headers["Content-Security-Policy"].startswith("default-src 'none'")


async def test_litestar_serves_no_pages_of_its_own() -> None:
    async with serving(ROUTES) as http:
        found = [await http.get(path) for path in ("/", "/schema", "/schema/swagger", "/elements")]

    assert {answer.status_code for answer in found} == {404}
    assert {answer.headers["Content-Type"] for answer in found} == {"application/problem+json"}


async def test_refusals_are_documented_as_problems() -> None:
    document = await read_document()

    make = document["paths"]["/v1/things"]["post"]
    assert {"201", "400", "401", "403", "404", "413", "415", "422", "503"} <= set(make["responses"])
    for status, answer in make["responses"].items():
        if int(status) >= 400:
            assert answer == {"$ref": f"#/components/responses/{status}"}
    content = document["components"]["responses"]["422"]["content"]
    assert content == {
        "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
    }
    assert "Problem" in document["components"]["schemas"]


async def test_every_answer_documents_its_headers() -> None:
    document = await read_document()

    responses = document["components"]["responses"]
    assert set(responses["401"]["headers"]) == {"WWW-Authenticate", "X-Request-ID"}
    assert set(responses["503"]["headers"]) == {"Retry-After", "X-Request-ID"}
    made = document["paths"]["/v1/things"]["post"]["responses"]["201"]["headers"]
    limited = {"RateLimit", "RateLimit-Policy"}
    assert set(made) == {"Location", "Cache-Control", "Vary", "X-Request-ID"} | limited
    assert made["Vary"] == {"$ref": "#/components/headers/Vary"}
    assert set(document["paths"]["/livez"]["get"]["responses"]["200"]["headers"]) == {
        "X-Request-ID"
    }


async def test_fields_are_documented_as_they_are_checked() -> None:
    document = await read_document()

    schemas = document["components"]["schemas"]
    assert schemas["Part"]["properties"]["size"] == {
        "type": "integer",
        "minimum": -(2**63),
        "maximum": 2**63 - 1,
        "format": "int64",
    }
    assert schemas["Thing"]["properties"]["weight"] == {
        "type": ["integer", "null"],
        "minimum": 0,
        "maximum": 9,
        "format": "int32",
    }
    assert schemas["Shown"]["properties"]["seen_at"] == {
        "type": ["string", "null"],
        "format": "date-time",
        "default": None,
    }


async def test_ids_in_paths_and_the_tenant_are_parameters() -> None:
    document = await read_document()

    of_tenant = document["paths"]["/v1/things/{id}"]["patch"]["parameters"]
    of_platform = document["paths"]["/v1/admin/things"]["get"]["parameters"]
    assert [one.get("schema") for one in of_tenant] == [{"type": "string", "format": "uuid"}, None]
    assert of_tenant[-1] == {"$ref": "#/components/parameters/X-Tenant-ID"}
    assert of_platform == []


async def test_security_follows_the_plane() -> None:
    document = await read_document()

    paths = document["paths"]
    assert paths["/v1/things"]["get"]["security"] == [{"bearer": []}, {"apiKey": []}]
    assert paths["/v1/things"]["get"]["x-permission"] == "things:read"
    assert paths["/v1/admin/things"]["get"]["security"] == [{"platform": []}]
    assert paths["/livez"]["get"]["security"] == []
    assert set(paths["/livez"]["get"]["responses"]) == {"200"}
    assert set(document["components"]["securitySchemes"]) == {"bearer", "apiKey", "platform"}
    assert not {"/docs", "/openapi.json", "/docs/{name}"} & set(paths)


async def test_bodies_say_that_they_take_nothing_else() -> None:
    document = await read_document()

    schemas = document["components"]["schemas"]
    assert schemas["Thing"]["additionalProperties"] is False
    assert schemas["Part"]["additionalProperties"] is False
    assert "additionalProperties" not in schemas["Shown"]
    change = document["paths"]["/v1/things/{id}"]["patch"]["requestBody"]
    assert set(change["content"]) == {"application/json", "application/merge-patch+json"}
    assert change["required"] is False
    assert document["paths"]["/v1/things"]["post"]["requestBody"]["required"] is True
