"""What an archive holds: all of one tenant as it was at one moment, and nothing of another."""

import hashlib
import itertools
import json
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from archives import MANIFEST, digests_of, manifest_of, members_of, rows_of

from saas.context import acting_as, tenant_principal
from saas.db.database import Database
from saas.db.models import tenant_tables
from saas.db.transaction import Transaction, transaction
from saas.features.projects import projects
from saas.features.tasks import tasks
from saas.portability.export import export_tenant
from saas.settings import Settings

STAY_BEHIND = {
    *("idempotency_keys", "access_grants", "row_quotas"),
    *("imports", "import_chunks", "import_errors"),
    # Their entries travel with the log's.
    "audit_sets",
}


async def archive_of(
    tenant: Any,
    settings: Settings,
    meanwhile: Callable[[Database], Awaitable[None]] | None = None,
) -> bytes:
    """An archive by fresh connections; `meanwhile` is done after each of its pieces."""
    pieces: list[bytes] = []
    urls = str(settings.database_url), str(settings.platform_database_url)
    async with Database(*urls) as database:

        async def write(piece: bytes) -> None:
            pieces.append(piece)
            if meanwhile is not None:
                await meanwhile(database)

        await export_tenant(database, UUID(tenant.tenant_id), actor="platform:test", write=write)
    return b"".join(pieces)


async def test_archive_holds_every_row_of_every_table_that_travels(
    lived_in: Any, export: Any, here: Any
) -> None:
    rows = here.of(lived_in.tenant_id)

    archive = await export(lived_in.tenant_id)

    manifest, members = manifest_of(archive), members_of(archive)
    tables = {entry["name"]: entry for entry in manifest["tables"]}
    assert tables.keys() == {table.name for table in tenant_tables()} - STAY_BEHIND
    assert list(members) == [*(entry["file"] for entry in manifest["tables"]), MANIFEST]
    for name, entry in tables.items():
        content = members[entry["file"]]
        assert entry["sha256"] == hashlib.sha256(content).hexdigest()
        assert (entry["rows"], entry["bytes"]) == (content.count(b"\n"), len(content))
        found = [json.loads(line) for line in content.splitlines()]
        assert found == [
            {name: value for name, value in json.loads(row).items() if name != "tenant_id"}
            for row in rows[name]
        ]
        assert all(list(row) == [c["name"] for c in entry["columns"]] for row in found)
        assert found, f"{name} had no row to travel"
    assert manifest["tenant"]["id"] == lived_in.tenant_id
    assert manifest["tenant"]["plan"] == "enterprise"


async def test_parents_come_before_their_children(lived_in: Any, export: Any) -> None:
    names = [entry["name"] for entry in manifest_of(await export(lived_in.tenant_id))["tables"]]

    assert names.index("members") < names.index("tasks")
    assert names.index("projects") < names.index("tasks")


async def test_archive_names_no_other_tenant_and_nothing_of_it(
    lived_in: Any, other_tenant: Any, export: Any, here: Any
) -> None:
    await other_tenant.create("projects", name="Theirs")
    foreign = [
        json.loads(row)["id"] for rows in here.of(other_tenant.tenant_id).values() for row in rows
    ]

    text = b"".join(members_of(await export(lived_in.tenant_id)).values()).decode()

    assert len(foreign) > 4
    for secret in (*foreign, other_tenant.tenant_id, "Theirs"):
        assert secret not in text


async def test_two_archives_of_the_same_rows_have_the_same_digests(
    lived_in: Any, export: Any, settings: Settings, here: Any
) -> None:
    """Also where the server writes times, bytes and intervals in another way."""
    first = await export(lived_in.tenant_id)
    ways = ("timezone = 'Asia/Tokyo'", "bytea_output = 'escape'", "DateStyle = 'German'")
    for way in ways:
        here(f"ALTER DATABASE saas SET {way}")
    try:
        second = await archive_of(lived_in, settings)
    finally:
        here("ALTER DATABASE saas RESET ALL")

    await lived_in.create("projects", name="One more")
    third = await export(lived_in.tenant_id)

    assert digests_of(first) == digests_of(second)
    assert manifest_of(first)["digest"] == manifest_of(second)["digest"]
    changed = {n for n, digest in digests_of(third).items() if digest != digests_of(first)[n]}
    assert changed == {"projects", "audit_log"}
    assert manifest_of(third)["digest"] != manifest_of(first)["digest"]


async def test_changes_while_an_archive_is_written_are_not_in_it(
    lived_in: Any, settings: Settings, here: Any
) -> None:
    """Not one of them: a task without its project would show a torn archive."""
    before = here.of(lived_in.tenant_id)
    writer = tenant_principal(UUID(lived_in.tenant_id), job="writer")
    numbers = itertools.count()

    async def write_rows(database: Database) -> None:
        with acting_as(writer):
            async with Transaction(database.app) as work:
                project = await projects.repository.create({"name": f"Late {next(numbers)}"})
                await tasks.repository.create({"project_id": project.id, "title": "Late"})
                await work.commit()

    archive = await archive_of(lived_in, settings, meanwhile=write_rows)

    assert len(here.of(lived_in.tenant_id)["projects"]) > len(before["projects"])
    for name in ("projects", "tasks", "audit_log", "members"):
        assert len(rows_of(archive, name)) == len(before[name])


@pytest.mark.parametrize(
    ("status", "code"), [("suspended", 200), ("deleting", 409), ("deleted", 409)]
)
async def test_suspended_tenant_can_be_taken_out_and_one_that_goes_cannot(
    tenant: Any, operator: Any, here: Any, status: str, code: int
) -> None:
    here.change(
        tenant.tenant_id, "UPDATE tenants SET status = %s WHERE id = %s", status, tenant.tenant_id
    )

    answer = await operator.get(f"/v1/admin/tenants/{tenant.tenant_id}/export")

    assert answer.status_code == code
    if code == 200:
        assert manifest_of(answer.content)["tenant"]["status"] == status
    else:
        problem = answer.json()
        assert (problem["code"], problem["tenant_status"]) == ("wrong_tenant_status", status)


async def test_absent_and_malformed_ids_are_answered_alike(operator: Any) -> None:
    for id in (str(uuid4()), "x"):
        refused = await operator.get(f"/v1/admin/tenants/{id}/export")
        assert (refused.status_code, refused.json()["code"]) == (404, "not_found")


async def test_head_tells_what_get_would_send_and_does_no_work(
    tenant: Any, operator: Any, here: Any
) -> None:
    path = f"/v1/admin/tenants/{tenant.tenant_id}/export"
    sent = await operator.get(path)

    told = await operator("HEAD", path)

    assert sent.headers["content-type"] == told.headers["content-type"] == "application/zip"
    slug = tenant.body["tenant"]["slug"]
    assert told.headers["content-disposition"] == f'attachment; filename="{slug}.zip"'
    assert (told.status_code, told.content) == (200, b"")


async def test_read_only_transactions_of_one_snapshot_see_one_state(
    tenant: Any, settings: Settings
) -> None:
    principal = tenant_principal(UUID(tenant.tenant_id), job="reader")
    async with Database(str(settings.database_url)) as database:
        with acting_as(principal):
            async with Transaction(database.app, read_only=True, one_snapshot=True):
                before = await projects.repository.count()
                await tenant.create("projects", name="Meanwhile")
                assert await projects.repository.count() == before
            async with transaction(database, read_only=True):
                assert await projects.repository.count() == before + 1
