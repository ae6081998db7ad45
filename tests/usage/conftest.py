"""Figures of a tenant, past all locks, and what they must come to."""

from uuid import UUID

import psycopg
import pytest
from figures import counted_in, true_in
from psycopg.rows import dict_row

from saas.auth.signing_key import signing_key_from
from saas.auth.tokens import TokenIssuer
from saas.context import Principal
from saas.db.database import Database
from saas.usage.folding import fold


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


@pytest.fixture
def in_tenant(superuser):
    """Plain SQL as an unnamed job of a tenant, so that it is logged; `%(tenant)s` is its id."""

    def run(tenant, *statements, **values):
        with superuser.transaction():
            superuser.execute(f"SET LOCAL app.tenant_id = '{tenant.tenant_id}'")
            superuser.execute("SET LOCAL app.actor = 'system:plain'")
            for statement in statements:
                cursor = superuser.execute(statement, {"tenant": tenant.tenant_id} | values)
            return cursor.fetchall() if cursor.description else []

    return run


@pytest.fixture
def counted(superuser):
    """The figures of a tenant, folded or not."""
    return lambda tenant: counted_in(superuser, tenant.tenant_id)


@pytest.fixture
def true_figures(superuser):
    """The same from the tenant's rows and log themselves."""
    return lambda tenant: true_in(superuser, tenant.tenant_id)


@pytest.fixture
def assert_true(counted, true_figures, database):
    """What is counted of these tenants is what they have, before a fold and after it."""

    async def check(*tenants):
        true = [true_figures(tenant) for tenant in tenants]
        assert [counted(tenant) for tenant in tenants] == true
        await fold(database)
        assert [counted(tenant) for tenant in tenants] == true

    return check


@pytest.fixture
def as_replica(postgres, settings):
    """A statement for which no trigger fires."""

    def run(statement):
        with psycopg.connect(postgres.dsn(postgres.superuser, "saas")) as connection:
            connection.execute("SET session_replication_role = replica")
            connection.execute(statement)

    return run


@pytest.fixture
def member_of(settings, http):
    """A caller like the tenant's owner, as a person with a token."""
    tokens = TokenIssuer(
        signing_key_from(settings), issuer=settings.jwt_issuer, audience=settings.jwt_audience
    )

    def member(tenant):
        token = tokens.issue(tenant.owner_id, tenant_id=UUID(tenant.tenant_id))
        return type(tenant)(http, token, tenant.body)

    return member
