"""docs/library.md, followed to the letter: a project of its own on the suite's PostgreSQL."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from processes import environment
from saas.db.migrate import migrate
from saas.db.roles import APP, MIGRATOR, PLATFORM, bootstrap
from saas.dev.postgres import EmbeddedPostgres

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")


class Shop(NamedTuple):
    """The project, and what its programs have said."""

    folder: Path
    environment: dict[str, str]
    said: list[str]

    def run(self, *command: str) -> str:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout


@pytest.fixture(scope="module")
def shop(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    bootstrap(postgres.dsn(postgres.superuser, "postgres"), database="shop")
    migrate(postgres.dsn(MIGRATOR, "shop"))
    folder = tmp_path_factory.mktemp("project")
    (folder / "shop").mkdir()
    for block in blocks("python"):
        named = re.match(r"# (shop/\w+\.py)\n", block)
        assert named is not None, block
        (folder / named[1]).write_text(block, encoding="utf-8")
    settings = environment(
        data_dir=folder / "installation",
        database_url=postgres.dsn(APP, "shop"),
        platform_database_url=postgres.dsn(PLATFORM, "shop"),
        migration_database_url=postgres.dsn(MIGRATOR, "shop"),
    )
    settings["MIGRATOR_URL"] = postgres.dsn(MIGRATOR, "shop")
    settings["PYTHONPATH"] = str(ROOT)
    settings["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    shop = Shop(folder, settings, [])
    (commands,) = blocks("sh")
    shop.said.extend(shop.run("sh", "-ec", commands).splitlines())
    settings["PYTHONPATH"] = f"{folder}{os.pathsep}{ROOT}"
    return shop


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_programs_of_the_page_say_what_they_should(shop: Shop) -> None:
    assert shop.said[-8:] == [
        "[10]",
        "['paid']",
        "paid 990",
        "pending 10",
        "10",
        "2 system:nightly",
        "2 0 0 1",
        "[(2, 'amount_cents', 'Expected `int`, got `str`.')]",
    ]
    assert any("Both locks are in place." in line for line in shop.said)


def test_migration_guards_the_table_and_touches_no_other(shop: Shop) -> None:
    (revision,) = (shop.folder / "revisions").glob("*.py")
    source = revision.read_text(encoding="utf-8").replace("'", '"')

    for part in (
        "ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        "CREATE POLICY tenant_isolation ON orders AS PERMISSIVE",
        "CREATE POLICY tenant_fence ON orders AS RESTRICTIVE",
        "GRANT SELECT ON orders TO saas_app",
        "CREATE TRIGGER audit_updated AFTER UPDATE ON public.orders",
    ):
        assert part in source
    assert set(re.findall(r'op\.(?:create|drop)_table\(\s*"(\w+)"', source)) == {"orders"}


def test_nothing_remains_to_be_migrated_on_either_side(shop: Shop) -> None:
    again = shop.run(sys.executable, "-m", "shop.tables")
    products = shop.run(
        *(sys.executable, "-c"),
        "import os; from alembic import command; from saas.db.migrate import migration_config;"
        "import shop.models; command.check(migration_config(os.environ['MIGRATOR_URL']))",
    )

    assert again.strip().endswith("None")
    assert "No new upgrade operations" in products


def test_who_does_not_know_the_models_leaves_their_tables_alone(shop: Shop) -> None:
    products = shop.run(
        *(sys.executable, "-c"),
        "import os; from alembic import command; from saas.db.migrate import migration_config;"
        "command.check(migration_config(os.environ['MIGRATOR_URL']))",
    )
    neighbour = shop.run(
        *(sys.executable, "-c"),
        "import os, pathlib; from saas.db.own_migrations import OwnMigrations;"
        "own = OwnMigrations('crm', pathlib.Path('crm'));"
        "print(own.revise(os.environ['MIGRATOR_URL'], 'nothing'))",
    )

    assert "No new upgrade operations" in products
    assert neighbour.strip().endswith("None")


def test_product_without_the_models_refuses_the_tables_and_says_so(shop: Shop) -> None:
    done = subprocess.run(
        ["saas", "doctor"], env=shop.environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "Table orders has a tenant_id, but no model declares it" in done.stdout
    wrong = {**shop.environment, "SAAS_MODELS": "no.such.module"}
    done = subprocess.run(
        ["saas", "doctor"], env=wrong, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "SAAS_MODELS: No module named 'no'" in done.stderr


def test_rows_and_their_log_are_the_tenants_own(shop: Shop, postgres: EmbeddedPostgres) -> None:
    actors = "SELECT actor, action FROM audit_log WHERE entity = 'orders' ORDER BY id"
    with psycopg.connect(postgres.dsn(postgres.superuser, "shop")) as administrator:
        logged = administrator.execute(actors).fetchall()
    with psycopg.connect(postgres.dsn(APP, "shop")) as stranger:
        seen = stranger.execute("SELECT id FROM orders").fetchall()

    assert logged == [
        ("system:shop", "insert"),
        ("system:shop", "insert"),
        ("system:shop", "update"),
        ("system:nightly", "update"),
        ("system:load", "insert"),
        ("system:load", "insert"),
    ]
    assert seen == []


def test_table_can_be_taken_back(shop: Shop, postgres: EmbeddedPostgres) -> None:
    back = "from shop.tables import migrations; import os;"
    url = "os.environ['MIGRATOR_URL']"
    with psycopg.connect(postgres.dsn(postgres.superuser, "shop")) as administrator:
        shop.run(sys.executable, "-c", f"{back} migrations.downgrade({url})")
        found = administrator.execute("SELECT to_regclass('orders')").fetchone()
        tenants = administrator.execute("SELECT count(*) FROM tenants").fetchone()
        administrator.rollback()
        shop.run(sys.executable, "-c", f"{back} migrations.upgrade({url})")

    assert (found, tenants) == ((None,), (1,))
