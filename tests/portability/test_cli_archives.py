"""`saas tenant export` and `import` as an operator types them."""

import asyncio
import contextlib
import io
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from archives import digests_of, manifest_of

from saas.cli import main
from saas.commands.on_database import out as terminal
from saas.db.portable import portable_tables
from saas.installation import as_environment
from saas.settings import Settings


class Ran(NamedTuple):
    code: int
    out: str
    err: str


Saas = Callable[..., Awaitable[Ran]]


@pytest.fixture
def saas(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Saas:
    """Run a command in an empty folder, on the installation of the settings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(terminal, "width", 160)
    for name in [name for name in os.environ if name.startswith("SAAS_")]:
        monkeypatch.delenv(name)

    async def saas(settings: Settings, *arguments: str) -> Ran:
        with monkeypatch.context() as patch:
            for name, value in as_environment(settings).items():
                patch.setenv(name, value)
            # In a thread: a command runs an event loop of its own.
            return await asyncio.to_thread(_run, list(arguments))

    return saas


def _run(arguments: list[str]) -> Ran:
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(arguments)
        except SystemExit as stop:
            code = stop.code or 0
    return Ran(code, out.getvalue(), err.getvalue())


def slug_of(tenant: Any) -> str:
    return str(tenant.body["tenant"]["slug"])


def content(name: str) -> bytes:
    return Path(name).read_bytes()


def put(name: str, content: bytes) -> None:
    Path(name).write_bytes(content)


async def test_tenant_moves_by_two_commands(
    saas: Saas, lived_in: Any, settings: Settings, elsewhere_settings: Settings, there: Any
) -> None:
    slug = slug_of(lived_in)

    taken = await saas(settings, "tenant", "export", slug, "-o", "tenant.zip")
    dry = await saas(elsewhere_settings, "tenant", "import", "tenant.zip", "--dry-run")
    before = there.everything()
    brought = await saas(elsewhere_settings, "tenant", "import", "tenant.zip")

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


async def test_scripts_read_json(saas: Saas, lived_in: Any, settings: Settings) -> None:
    slug = slug_of(lived_in)

    taken = await saas(settings, "tenant", "export", slug, "--json")
    options = ("--ids", "new", "--slug", f"cli-{slug}", "--plan", "free", "--json")
    copied = await saas(settings, "tenant", "import", f"{slug}.zip", *options)
    merged = await saas(
        settings, "tenant", "import", f"{slug}.zip", "--on-conflict", "skip", "--json"
    )

    assert json.loads(taken.out) == manifest_of(content(f"{slug}.zip"))
    copy = json.loads(copied.out)
    assert (copy["tenant"]["slug"], copy["tenant"]["plan"]) == (f"cli-{slug}", "free")
    assert copy["verified"]
    assert json.loads(merged.out)["tables"]["projects"]["skipped"] == 3


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


async def test_refusal_is_one_line_and_leaves_no_file(
    saas: Saas, lived_in: Any, settings: Settings, here: Any
) -> None:
    slug = slug_of(lived_in)
    await saas(settings, "tenant", "export", slug)
    put("torn.zip", content(f"{slug}.zip")[:-10])
    kept = set(os.listdir())
    before = here.everything()

    for words, *arguments in (
        ("no such", "export", "no-such-tenant"),
        ("cannot write", "export", slug, "-o", "/no/such/folder/x.zip"),
        ("is here already", "import", f"{slug}.zip"),
        ("slug exists already", "import", f"{slug}.zip", "--ids", "new"),
        ("--slug", "import", f"{slug}.zip", "--ids", "new", "--slug", "No!"),
        ("plan", "import", f"{slug}.zip", "--ids", "new", "--slug", "free-slug", "--plan", "gold"),
        ("no whole zip archive", "import", "torn.zip"),
    ):
        ran = await saas(settings, "tenant", *arguments)
        assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1), ran
        assert ran.err.startswith("saas: ")
        assert words in ran.err
    assert set(os.listdir()) == kept
    assert here.everything() == before


async def test_file_that_was_there_is_replaced_by_a_whole_one_alone(
    saas: Saas, lived_in: Any, settings: Settings, here: Any
) -> None:
    slug = slug_of(lived_in)
    put("kept.zip", b"the one before")

    here.change(
        lived_in.tenant_id,
        "UPDATE tenants SET status = 'deleted' WHERE id = %s",
        lived_in.tenant_id,
    )
    refused = await saas(settings, "tenant", "export", slug, "-o", "kept.zip")
    after_refusal = content("kept.zip")
    here.change(
        lived_in.tenant_id, "UPDATE tenants SET status = 'active' WHERE id = %s", lived_in.tenant_id
    )
    taken = await saas(settings, "tenant", "export", slug, "-o", "kept.zip")

    assert (refused.code, taken.code) == (2, 0)
    assert after_refusal == b"the one before"
    assert manifest_of(content("kept.zip"))["tenant"]["slug"] == slug
    assert os.listdir() == ["kept.zip"]
