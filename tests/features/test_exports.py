"""GET /v1/R/export: what stands in the file, and who gets it."""

import csv
import io
import json
from urllib.parse import quote

import pytest

QUERIES = [
    "",
    "sort=name",
    "sort=-budget_cents,name",
    "name__contains=1&is_active=true",
    "q=number 7",
    "or=(name.eq.p003,budget_cents.gte.200)",
    "deleted=include&sort=id",
    "deleted=only",
]


async def fill(tenant, count=230):
    items = [
        {
            "name": f"p{number:03}",
            "description": None if number % 3 else f"It has the number {number}",
            "is_active": number % 2 == 0,
            "budget_cents": number if number % 5 else None,
        }
        for number in range(count)
    ]
    body = {"mode": "atomic", "items": [{"op": "create", "data": item} for item in items]}
    answer = await tenant.post("/v1/projects/batch", body)
    assert answer.status_code == 200, answer.text
    for result in answer.json()["results"][:5]:
        assert (await tenant.delete(f"/v1/projects/{result['id']}")).status_code == 204


async def listed(tenant, query):
    """The rows of all pages of the list."""
    path, found = f"/v1/projects?limit=100&{query}", []
    while path:
        answer = await tenant.get(path)
        found += answer.json()["items"]
        path = answer.links.get("next", {}).get("url")
    return found


async def rows_of(tenant, query):
    return json_lines(await tenant.get(f"/v1/projects/export?format=jsonl&{query}"))


def json_lines(answer):
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def cells(answer):
    """The rows of a CSV file, by column."""
    assert answer.status_code == 200, answer.text
    assert answer.text.startswith("id,") or "fields" in str(answer.url)
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


async def test_export_has_the_rows_of_the_list_without_its_pages(tenant):
    await fill(tenant)

    for query in QUERIES:
        rows = await listed(tenant, query)
        assert await rows_of(tenant, query) == rows
        answer = await tenant.get(f"/v1/projects/export?{query}")
        assert [row["id"] for row in cells(answer)] == [row["id"] for row in rows]
    assert len(await rows_of(tenant, "")) == 225
    assert len(await rows_of(tenant, "deleted=include")) == 230


async def test_cells_are_the_values_of_the_json(tenant):
    await tenant.create("projects", name='a "b", c', description="two\r\nlines\n", is_active=False)
    await tenant.create("projects", name="née Ω 🎈", budget_cents=-5)

    (first, second) = cells(await tenant.get("/v1/projects/export?sort=created_at"))
    json_rows = await rows_of(tenant, "sort=created_at")

    assert (first["name"], first["description"]) == ('a "b", c', "two\r\nlines\n")
    assert (first["is_active"], second["is_active"]) == ("false", "true")
    assert (first["budget_cents"], second["budget_cents"]) == ("", "-5")
    assert (second["name"], second["description"]) == ("née Ω 🎈", "")
    for row, shown in zip((first, second), json_rows, strict=True):
        for same in ("id", "created_at", "created_by", "updated_at"):
            assert row[same] == shown[same]
        assert (row["version"], row["deleted_at"]) == ("1", "")


async def test_a_text_is_no_formula_for_a_spreadsheet(tenant):
    texts = ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "", "'", "'=1", "'tis"]
    for number, text in enumerate(texts):
        await tenant.create("projects", name=f"p{number}", description=text, budget_cents=-number)

    rows = cells(await tenant.get("/v1/projects/export?sort=name"))

    written = ["'=1+1", "'+1", "'-1", "'@x", "'\tx", "'\rx", "'", "''", "''=1", "''tis"]
    assert [row["description"] for row in rows] == written
    assert [int(row["budget_cents"]) for row in rows] == [-number for number in range(10)]


async def test_fields_are_the_columns_of_the_file(tenant):
    await tenant.create("projects", name="Magnet", budget_cents=3)

    some = await tenant.get("/v1/projects/export?fields=budget_cents,name")
    one = await tenant.get("/v1/projects/export?fields=description")

    assert some.text == "name,budget_cents\r\nMagnet,3\r\n"
    assert one.text == 'description\r\n""\r\n'
    assert await rows_of(tenant, "fields=name") == [{"name": "Magnet"}]


async def test_nothing_to_export_is_a_file_too(tenant):
    table = await tenant.get("/v1/tasks/export")
    lines = await tenant.get("/v1/tasks/export?format=jsonl")

    assert cells(table) == []
    assert table.text.startswith("id,version,")
    assert (lines.status_code, lines.content) == (200, b"")


async def test_file_has_a_name_and_a_type_and_is_not_kept_by_caches(tenant):
    for format, media_type in (
        ("csv", "text/csv; charset=utf-8"),
        ("jsonl", "application/x-ndjson"),
    ):
        path = f"/v1/projects/export?format={format}"
        for answer in (await tenant.get(path), await tenant("HEAD", path)):
            assert answer.status_code == 200
            assert answer.headers["Content-Type"] == media_type
            named = f'attachment; filename="projects.{format}"'
            assert answer.headers["Content-Disposition"] == named
            assert answer.headers["Cache-Control"] == "private, no-store"
            # Of a stream nobody knows the length, and a HEAD must not tell another one.
            assert "Content-Length" not in answer.headers
    assert answer.content == b""


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("limit=5", "no pages"),
        ("cursor=x", "no pages"),
        ("offset=5", "no pages"),
        ("include_total=true", "no pages"),
        ("format=xml", "csv, jsonl"),
        ("format=csv&format=csv", "once"),
        ("fields=secret", "Allowed: id"),
        ("nope=1", "Allowed: id"),
        ("budget_cents=cheap", "integer"),
        ("or=(", "expected"),
    ],
)
async def test_what_makes_no_sense_is_refused_by_its_name(tenant, query, names):
    for method in ("GET", "HEAD"):
        answer = await tenant(method, f"/v1/projects/export?{quote(query, safe='=&')}")
        assert answer.status_code == 400
    problem = (await tenant.get(f"/v1/projects/export?{query}")).json()

    assert problem["errors"][0]["pointer"] == f"/{query.partition('=')[0]}"
    assert names in problem["errors"][0]["message"]


async def test_export_needs_the_permissions_of_the_list(tenant, member_with):
    await fill(tenant, count=6)
    reader = member_with(tenant, permissions=["projects:read"])
    stranger = member_with(tenant, permissions=["tasks:read"])

    assert len(json_lines(await reader.get("/v1/projects/export?format=jsonl"))) == 1
    for deleted in ("include", "only"):
        answer = await reader.get(f"/v1/projects/export?deleted={deleted}")
        assert (answer.status_code, answer.json()["permission"]) == (403, "projects:write")
    assert (await stranger.get("/v1/projects/export")).status_code == 403


async def test_export_has_no_row_of_another_tenant(tenant, other_tenant):
    own = await tenant.create("projects", name="Ours")
    foreign = await other_tenant.create("projects", name="Theirs")

    assert [row["id"] for row in await rows_of(tenant, "")] == [own["id"]]
    assert await rows_of(tenant, f"id={foreign['id']}") == []
