"""What a newcomer meets who has not yet started anything."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from command_line import Saas
from processes import processes_of, scratch_folder
from scratch_copy import run, scratch_copy, versions

pytestmark = pytest.mark.long

NO_ADDRESS = dict.fromkeys(("database_url", "platform_database_url", "migration_database_url"))


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with scratch_folder() as folder:
        yield folder / "installation"


def test_first_migration_needs_neither_a_server_nor_a_linter() -> None:
    with scratch_copy() as checkout:
        # As after `make run`, which installs no ruff.
        hidden = "import sys\n\nsys.modules['ruff'] = None\n"
        (checkout / "sitecustomize.py").write_text(hidden, encoding="utf-8")
        run(checkout, ".venv/bin/saas", "new", "resource", "notes", "body:str")
        old = set(versions(checkout))

        run(checkout, ".venv/bin/alembic", "revision", "--autogenerate", "-m", "notes")

        (migration,) = set(versions(checkout)) - old
        written = migration.read_text(encoding="utf-8")
        assert written.count("op.create_table(") == 1
        assert "CREATE POLICY tenant_isolation ON notes" in written
        run(checkout, ".venv/bin/saas", "migrate")
        assert "Both locks are in place." in run(checkout, ".venv/bin/saas", "doctor")
        assert processes_of(checkout / ".saas") == []


async def test_commands_ask_for_what_makes_and_starts_the_installation(
    saas: Saas, data_dir: Path
) -> None:
    here = {**NO_ADDRESS, "data_dir": str(data_dir)}

    asleep = await saas("url", **here)
    assert asleep.refusal.startswith(f"no installation runs in {data_dir}: start it")

    empty = await saas("tenant", "list", **here)
    assert empty.refusal == f"There is no installation in {data_dir} yet: run `saas migrate`."
    assert (await saas("migrate", **here)).code == 0
    assert (await saas("tenant", "list", "--json", **here)).answer == ""
    assert (await saas("url", **here)).refusal
