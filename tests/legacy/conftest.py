"""Legacy databases, and migrations of them into a tenant."""

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine

from saas.context import acting_as, tenant_principal
from saas.db.database import Database
from saas.legacy.source import open_source
from saas.settings import Settings

Legacy = Callable[..., Engine]


@pytest.fixture
def legacy(tmp_path: Path) -> Iterator[Legacy]:
    """Makes a SQLite database by a script and rows by table."""
    engines = []

    def make(script: str, **rows: list[tuple[Any, ...]]) -> Engine:
        with sqlite3.connect(tmp_path / "legacy.db") as database:
            database.executescript(script)
            for table, values in rows.items():
                places = ", ".join("?" * len(values[0]))
                database.executemany(f"INSERT INTO {table} VALUES ({places})", values)
        database.close()
        engines.append(open_source(f"sqlite:///{tmp_path}/legacy.db"))
        return engines[-1]

    yield make
    for engine in engines:
        engine.dispose()


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    urls = str(settings.database_url), str(settings.platform_database_url)
    async with Database(*urls, size=3) as database:
        yield database


@pytest.fixture
def acting(tenant: Any) -> Iterator[None]:
    """Everything in the test acts for `tenant`."""
    with acting_as(tenant_principal(UUID(tenant.tenant_id), job="migration")):
        yield
