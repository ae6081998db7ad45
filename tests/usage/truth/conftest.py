"""What the tests of usage share: the tables past all locks, pools of one's own."""

from uuid import UUID

import psycopg
import pytest

from saas.db.database import Database


@pytest.fixture(scope="session")
def superuser(postgres, settings):
    """Runs one statement past row-level security; its rows."""
    url = postgres.dsn(postgres.superuser, "saas")
    with psycopg.connect(url, autocommit=True) as connection:

        def run(statement, *values):
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else cursor.rowcount

        yield run


@pytest.fixture(scope="session")
async def database(settings):
    """Pools of its own, as a second node has them."""
    urls = (settings.database_url, settings.platform_database_url)
    async with Database(*urls, size=8, acquire_timeout_seconds=20) as database:
        yield database


@pytest.fixture
def tenant_id(tenant):
    return UUID(tenant.tenant_id)


@pytest.fixture
def slug(tenant):
    return tenant.body["tenant"]["slug"]
