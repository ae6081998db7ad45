"""`saas import`: files from the terminal, by the engine of the API."""

import csv
import io
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from saas.context import acting_as, tenant_principal
from saas.db.bulk_target import bulk_target
from saas.db.database import Database
from saas.db.imports import records
from saas.db.imports.head import SourceWish
from saas.db.imports.pieces import PIECE_BYTES
from saas.db.imports.service import ImportService, ImportWish
from saas.db.transaction import transaction
from saas.errors import BadRequest
from saas.features.projects import projects
from saas.settings import Settings
from saas.tenancy.standing import require_active_tenant

ROWS = "name,description\r\nAda,\r\nBob,'=1\r\nx,too short\r\nCy,c\r\n"


async def rows_of(tenant: Any, fields: str = "name,description") -> list[dict[str, Any]]:
    answer = await tenant.get(f"/v1/projects/export?format=jsonl&sort=name&fields={fields}")
    return [json.loads(line) for line in answer.text.splitlines()]


@pytest.fixture
def put(tmp_path: Path) -> Any:
    def put(name: str, text: str) -> str:
        (tmp_path / name).write_bytes(text.encode())
        return name

    return put


async def test_good_rows_land_and_bad_ones_come_back_to_be_corrected(
    saas: Any, tenant: Any, slug: str, put: Any, tmp_path: Path
) -> None:
    into = ("import", "--tenant", slug, "projects")

    ran = await saas(*into, put("data.csv", ROWS))

    assert (ran.code, ran.err) == (1, "")
    assert ran.out.splitlines() == [
        "data.csv into projects: 4 rows read: 3 inserted, 0 updated, 0 skipped, 1 failed.",
        "The refused rows are in data.errors.csv.",
    ]
    refused = (tmp_path / "data.errors.csv").read_bytes().decode()
    (row,) = csv.DictReader(io.StringIO(refused, newline=""))
    assert (row["name"], row["description"]) == ("x", "too short")
    again = await saas(*into, put("data.errors.csv", refused.replace("x,too", "xx,too")), "--json")
    assert (again.code, again.json["inserted"], again.json["failed"]) == (0, 1, 0)
    assert await rows_of(tenant) == [
        {"name": "Ada", "description": None},
        {"name": "Bob", "description": "=1"},
        {"name": "Cy", "description": "c"},
        {"name": "xx", "description": "too short"},
    ]
    assert {row["created_by"] for row in await rows_of(tenant, "created_by")} == {"platform:cli"}


async def test_what_was_exported_comes_back_equal(
    saas: Any, tenant: Any, other_tenant: Any, slug: str
) -> None:
    texts = [
        "=1",
        "'",
        "",
        "'=1",
        "'tis",
        "-5",
        "a\r\nb",
        'say "x", y',
        "née 🎈",
        None,
        "null",
        " x ",
    ]
    for number, text in enumerate(texts):
        await tenant.create(
            "projects", name=f"'{number}", description=text, budget_cents=-number, is_active=False
        )
    fields = "name,description,is_active,budget_cents"
    other = other_tenant.body["tenant"]["slug"]

    for format, done in (("csv", "inserted"), ("jsonl", "skipped")):
        file = f"out.{format}"
        await saas("export", "--tenant", slug, "projects", "-o", file)
        ran = await saas(
            *("import", "--tenant", other, "projects", file, "--json", "--on-conflict", "update")
        )
        assert (ran.code, ran.json[done]) == (0, len(texts)), ran
        assert await rows_of(other_tenant, fields) == await rows_of(tenant, fields)


async def test_file_is_read_as_the_options_say(saas: Any, tenant: Any, slug: str, put: Any) -> None:
    into = ("import", "--tenant", slug, "projects", "--json")
    await tenant.create("projects", name="Ada", description="old")
    file = put("odd.txt", "Titel|Zahl|name\nAda|5|\nBob|6|\n")
    mapping = ("--mapping", "Titel=name", "--mapping", "Zahl=budget_cents", "--mapping", "name=")

    tried = await saas(*into, file, *mapping, "--on-conflict", "skip", "--dry-run")
    whole = await saas(*into, file, *mapping, "--mode", "atomic")
    done = await saas(*into, file, *mapping, "--delimiter", "|", "--on-conflict", "update")
    lines = await saas(*into, put("x", '{"name": "Cy"}\n'), "--format", "jsonl")

    assert (tried.code, tried.json["inserted"], tried.json["skipped"]) == (0, 1, 1)
    assert (whole.code, whole.json["status"], whole.json["failed"]) == (1, "failed", 1)
    assert (done.code, done.json["inserted"], done.json["updated"]) == (0, 1, 1)
    assert (lines.code, lines.json["inserted"]) == (0, 1)
    rows = await rows_of(tenant, "name,budget_cents")
    assert [tuple(row.values()) for row in rows] == [("Ada", 5), ("Bob", 6), ("Cy", None)]


async def test_same_file_is_imported_once(saas: Any, tenant: Any, slug: str, put: Any) -> None:
    words = ("import", "--tenant", slug, "projects", put("data.csv", ROWS), "--json")
    first = await saas(*words)

    second = await saas(*words)

    assert second.json == first.json
    assert second.err == "This file was imported before; this is what came of it.\n"
    assert len(await rows_of(tenant)) == 3


async def test_standard_input_is_a_file_too(
    saas: Any, tenant: Any, slug: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(ROWS.encode())))

    ran = await saas("import", "--tenant", slug, "projects", "-", "--json")

    assert (ran.code, ran.json["inserted"]) == (1, 3)
    refused = await saas("import", "--tenant", slug, "projects", "-", "--resume")
    assert refused.refusal == "--resume needs a file"


@pytest.fixture
async def service(settings: Settings, tenant: Any) -> AsyncIterator[ImportService]:
    """The engine of a process that will not live to do its work."""
    urls = str(settings.database_url), str(settings.platform_database_url)
    async with Database(*urls, size=3) as database:
        with acting_as(tenant_principal(UUID(tenant.tenant_id), job="gone")):
            yield ImportService(
                database,
                {"projects": bulk_target(projects)},
                max_bytes=10**9,
                check=require_active_tenant,
            )


async def test_import_of_a_process_that_was_killed_is_gone_on_with(
    saas: Any, tenant: Any, slug: str, put: Any, service: ImportService
) -> None:
    wish = ImportWish(resource="projects", source=SourceWish(format="csv"))
    upload = await service.receive(wish, _pieces(ROWS.encode()), length=len(ROWS))
    async with transaction(service.database):
        # As it begins, with nobody at work.
        await records.change(upload.id, upload.worker, status="running", digest=upload.digest)
    words = ("import", "--tenant", slug, "projects", put("data.csv", ROWS), "--resume", "--json")

    ran = await saas(*words)
    again = await saas(*words)

    assert (ran.code, ran.json["id"], ran.json["inserted"]) == (1, str(upload.id), 3)
    # A script may say --resume until all is in.
    assert (again.code, again.json) == (1, ran.json)
    assert again.err == "This file was imported before; this is what came of it.\n"


async def test_upload_that_broke_off_is_gone_on_with_if_the_file_is_the_same(
    saas: Any, tenant: Any, slug: str, put: Any, service: ImportService
) -> None:
    lines = [f"project {number:07},{'x' * 1_000}\n" for number in range(400)]
    text = "".join(["name,description\n", *lines])
    wish = ImportWish(resource="projects", source=SourceWish(format="csv"))
    with pytest.raises(BadRequest):
        await service.receive(
            wish, _pieces(text.encode(), breaking_at=PIECE_BYTES + 1_000), length=len(text)
        )
    words = ("import", "--tenant", slug, "projects", "--resume", "--json")

    other = await saas(*words, put("other.csv", text.replace("project 0000000", "project x000000")))
    ran = await saas(*words, put("data.csv", text))

    assert other.refusal == "there is no import of this file into projects to go on with"
    assert (ran.code, ran.json["inserted"], ran.json["failed"]) == (0, 400, 0)


async def _pieces(data: bytes, breaking_at: int | None = None) -> AsyncIterator[bytes]:
    yield data[:breaking_at]
    if breaking_at is not None:
        raise BadRequest("The body ended before it was whole.")


async def test_wrong_wish_is_refused_in_a_line(saas: Any, slug: str, put: Any) -> None:
    file = put("data.csv", ROWS)
    put("none.csv", "")

    for words, reason in (
        (("--tenant", "nobody", "projects", file), "There is no tenant nobody."),
        (("--tenant", slug, "planets", file), "give projects, tasks"),
        (("--tenant", slug, "tasks", file), "does not name the columns. /"),
        (("--tenant", slug, "projects", "none.csv"), "name the columns"),
        (("--tenant", slug, "projects", file, "--mapping", "name"), "NAME=COLUMN"),
        (("--tenant", slug, "projects", file, "--delimiter", "||"), "one ASCII character"),
        (("--tenant", slug, "projects", file, "--charset", "klingon"), "charset is not known"),
    ):
        assert reason in (await saas("import", *words)).refusal
