"""`saas tenant export` and `import` as an operator types them."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from archives import digests_of, manifest_of

from command_line import Saas, saas_on
from saas.db.portable import portable_tables
from saas.installation import as_environment
from saas.settings import Settings

# Each command is a process.
pytestmark = pytest.mark.long


@pytest.fixture
def saas_there(
    elsewhere_settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Saas:
    """`saas` in the same folder, on the other installation."""
    return saas_on(elsewhere_settings, monkeypatch, tmp_path)


def slug_of(tenant: Any) -> str:
    return str(tenant.body["tenant"]["slug"])


def content(name: str) -> bytes:
    return Path(name).read_bytes()


def put(name: str, content: bytes) -> None:
    Path(name).write_bytes(content)


async def test_tenant_moves_by_two_commands(
    saas: Saas, saas_there: Saas, lived_in: Any, there: Any
) -> None:
    slug = slug_of(lived_in)

    taken = await saas("tenant", "export", slug, "-o", "tenant.zip")
    dry = await saas_there("tenant", "import", "tenant.zip", "--dry-run")
    before = there.everything()
    brought = await saas_there("tenant", "import", "tenant.zip")

    assert [ran.code for ran in (taken, dry, brought)] == [0, 0, 0], (taken, dry, brought)
    assert os.stat("tenant.zip").st_mode & 0o777 == 0o600
    archive = content("tenant.zip")
    assert manifest_of(archive)["digest"] in taken.out
    for name, digest in digests_of(archive).items():
        assert any(name in line and digest in line for line in taken.out.splitlines())
    assert f"Tenant {slug} would be {lived_in.tenant_id}: verified." in dry.out
    assert f"Tenant {slug} is {lived_in.tenant_id}: verified." in brought.out
    assert there("SELECT count(*) FROM tenants WHERE slug = %s", slug) == [(1,)]
    assert there.everything() != before
    (actor,) = there(
        "SELECT actor FROM audit_log WHERE tenant_id = %s AND action = 'import'", lived_in.tenant_id
    )
    assert actor == ("platform:cli",)


async def test_scripts_read_json(saas: Saas, lived_in: Any) -> None:
    slug = slug_of(lived_in)

    taken = await saas("tenant", "export", slug, "--json")
    options = ("--ids", "new", "--slug", f"cli-{slug}", "--plan", "free", "--json")
    copied = await saas("tenant", "import", f"{slug}.zip", *options)
    merged = await saas("tenant", "import", f"{slug}.zip", "--on-conflict", "skip", "--json")

    assert taken.json == manifest_of(content(f"{slug}.zip"))
    copy = copied.json
    assert (copy["tenant"]["slug"], copy["tenant"]["plan"]) == (f"cli-{slug}", "free")
    assert copy["verified"]
    assert merged.json["tables"]["projects"]["skipped"] == 3


async def test_command_knows_every_table_by_itself(
    lived_in: Any, settings: Settings, tmp_path: Path
) -> None:
    """In a process of its own, where no test has imported the product's models."""
    command = (sys.executable, "-m", "saas.cli", "tenant", "export", lived_in.tenant_id, "--json")
    paths = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}

    process = await asyncio.create_subprocess_exec(
        *command, cwd=tmp_path, env=as_environment(settings) | paths, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()

    tables = {entry["name"] for entry in json.loads(out)["tables"]}
    assert tables == {portable.name for portable in portable_tables()}
    assert {"projects", "tasks", "members", "audit_log"} <= tables


async def test_refusal_is_one_line_and_leaves_no_file(saas: Saas, lived_in: Any, here: Any) -> None:
    slug = slug_of(lived_in)
    await saas("tenant", "export", slug)
    put("torn.zip", content(f"{slug}.zip")[:-10])
    kept = set(os.listdir())
    before = here.everything()

    for words, *arguments in (
        ("no tenant no-such-tenant.", "export", "no-such-tenant"),
        ("cannot write", "export", slug, "-o", "/no/such/folder/x.zip"),
        ("is here already", "import", f"{slug}.zip"),
        ("slug exists already", "import", f"{slug}.zip", "--ids", "new"),
        ("--slug", "import", f"{slug}.zip", "--ids", "new", "--slug", "No!"),
        ("plan", "import", f"{slug}.zip", "--ids", "new", "--slug", "free-slug", "--plan", "gold"),
        ("no whole zip archive", "import", "torn.zip"),
    ):
        ran = await saas("tenant", *arguments)
        assert words in ran.refusal
    assert set(os.listdir()) == kept
    assert here.everything() == before


async def test_file_that_was_there_is_replaced_by_a_whole_one_alone(
    saas: Saas, lived_in: Any, here: Any
) -> None:
    slug = slug_of(lived_in)
    put("kept.zip", b"the one before")

    here.change(
        lived_in.tenant_id,
        "UPDATE tenants SET status = 'deleted' WHERE id = %s",
        lived_in.tenant_id,
    )
    refused = await saas("tenant", "export", slug, "-o", "kept.zip")
    after_refusal = content("kept.zip")
    here.change(
        lived_in.tenant_id, "UPDATE tenants SET status = 'active' WHERE id = %s", lived_in.tenant_id
    )
    taken = await saas("tenant", "export", slug, "-o", "kept.zip")

    assert (refused.code, taken.code) == (2, 0)
    assert after_refusal == b"the one before"
    assert manifest_of(content("kept.zip"))["tenant"]["slug"] == slug
    assert os.listdir() == ["kept.zip"]
