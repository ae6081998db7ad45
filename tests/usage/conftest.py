"""Figures of a tenant, past all locks, and what they must come to."""

from uuid import UUID

import psycopg
import pytest
from psycopg.rows import dict_row

from saas.context import Principal
from saas.db.database import Database


@pytest.fixture(scope="session")
def superuser(postgres, settings):
    """Past row-level security, on the migrated database."""
    url = postgres.dsn(postgres.superuser, "saas")
    with psycopg.connect(url, autocommit=True, row_factory=dict_row) as connection:
        yield connection


@pytest.fixture(scope="session")
async def database(settings):
    """Pools of its own, as a second node has them."""
    async with Database(settings.database_url, settings.platform_database_url, size=4) as database:
        yield database


@pytest.fixture
def principal(tenant):
    return Principal(tenant_id=UUID(tenant.tenant_id), actor="system:test")


@pytest.fixture
def used(superuser):
    """What a tenant's meters say: folded and not, by meter."""

    def figures(tenant):
        rows = superuser.execute(
            """SELECT meter, sum(quantity)::bigint AS quantity, sum(events)::bigint AS events
            FROM (SELECT tenant, meter, quantity, events FROM usage_meters
                  UNION ALL
                  SELECT tenant, meter, quantity, events FROM usage_meter_changes) AS had
            WHERE tenant = %s GROUP BY meter""",
            [tenant.tenant_id],
        )
        return {row["meter"]: (row["quantity"], row["events"]) for row in rows}

    return figures
