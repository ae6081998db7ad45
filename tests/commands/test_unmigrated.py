"""What the commands say on a database that is not at the revision they need."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from command_line import Saas
from saas.db.roles import APP, MIGRATOR, PLATFORM, bootstrap
from saas.dev.postgres import EmbeddedPostgres

Urls = dict[str, str]


@pytest.fixture(scope="module")
def unmigrated(postgres: EmbeddedPostgres) -> Iterator[Urls]:
    """The addresses of a database with roles and without a table."""
    administrator = postgres.dsn(postgres.superuser, "postgres")
    bootstrap(administrator, database="unmigrated")
    yield {
        "database_url": postgres.dsn(APP, "unmigrated"),
        "platform_database_url": postgres.dsn(PLATFORM, "unmigrated"),
        "migration_database_url": postgres.dsn(MIGRATOR, "unmigrated"),
    }
    with psycopg.connect(administrator, autocommit=True) as connection:
        connection.execute("DROP DATABASE unmigrated WITH (FORCE)")


@pytest.mark.parametrize(
    "command",
    [
        "tenant create acme --owner-email ada@acme.test",
        "tenant list",
        "tenant export acme",
        "tenant access list acme",
        "plan list",
        "member list --tenant acme",
        "key list --tenant acme",
        "token --tenant acme",
        "token revoke --tenant acme",
        "export projects --tenant acme",
        "import projects data.csv --tenant acme",
        "doctor --reconcile",
        "doctor --reconcile --tenant acme",
    ],
)
async def test_command_asks_for_the_migration(
    saas: Saas, unmigrated: Urls, tmp_path: Path, command: str
) -> None:
    (tmp_path / "data.csv").write_text("name\nAda\n", encoding="utf-8")

    ran = await saas(*command.split(), **unmigrated)

    assert ran.refusal.startswith("The database is at revision none, this version needs ")
    assert ran.refusal.endswith(": run `saas migrate`.")
