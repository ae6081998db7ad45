"""Tenants at each stage of their life, and what is left of them."""

import msgspec
import psycopg
import pytest
from psycopg import sql

from isolation.raw import fill, raw_database
from saas.app import create_app
from saas.db.database import Database
from saas.db.models import Base
from saas.db.purge_statements import tenant_column

FIGURES = (
    "INSERT INTO usage_totals VALUES (%s, 'projects', 1, 1, 0, 100, now())",
    "INSERT INTO usage_activity VALUES (%s, now(), 'projects', 'member:x', 1, 0, 0, 1, 100)",
    "INSERT INTO usage_requests VALUES (%s, now(), 1, '/v1', 2, 'key', 1, 0, 9, '{3}', '{1}')",
    "INSERT INTO usage_days VALUES (%s, now(), 1, 0, 0, 9)",
    "INSERT INTO usage_meters VALUES (%s, now(), 'pdf_pages', 'key', 1, 3)",
    "INSERT INTO usage_meter_changes (tenant, at, meter, kind, events, quantity) "
    "VALUES (%s, now(), 'pdf_pages', 'key', 1, 3)",
)


@pytest.fixture(scope="session")
def raw(postgres, settings):
    with raw_database(postgres, "saas") as raw:
        yield raw


@pytest.fixture(scope="session")
def superuser(postgres, settings):
    """Past row-level security, on the migrated database."""
    url = postgres.dsn(postgres.superuser, "saas")
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
async def database(settings):
    """Pools of its own, as a second node has them."""
    async with Database(settings.database_url, settings.platform_database_url, size=4) as database:
        yield database


@pytest.fixture(scope="session")
async def forgetful(settings, serve):
    """A client of a second node, which remembers no credential: what is cut off is out at once."""
    app = create_app(msgspec.structs.replace(settings, principal_cache_seconds=0))
    async with serve(app) as client:
        yield client


@pytest.fixture
def status_of(forgetful):
    """How the node that remembers nothing answers a credential."""

    async def ask(credential, path="/v1/projects"):
        headers = {"Authorization": f"Bearer {credential}"}
        return (await forgetful.get(path, headers=headers)).status_code

    return ask


@pytest.fixture
def rewind(superuser):
    """Let the grace period of an offboarded tenant be over."""

    def run(tenant, to="now() - interval '1 second'"):
        # The audit triggers need a bound tenant, whoever writes.
        superuser.execute("SELECT set_config('app.tenant_id', %s, false)", [tenant.tenant_id])
        statement = f"UPDATE tenants SET purge_at = {to} WHERE id = %s"
        assert superuser.execute(statement, [tenant.tenant_id]).rowcount == 1

    return run


@pytest.fixture
def offboard(operator, rewind):
    """Offboard a tenant, whose grace period is over then."""

    async def run(tenant):
        answer = await operator.delete(f"/v1/admin/tenants/{tenant.tenant_id}")
        assert answer.status_code == 202, answer.text
        rewind(tenant)

    return run


@pytest.fixture
def populate(raw, superuser):
    """Put rows into every table of a tenant, and figures into every table about tenants."""

    def run(tenant):
        fill(raw, tenant.tenant_id)
        for statement in FIGURES:
            superuser.execute(f"{statement} ON CONFLICT DO NOTHING", [tenant.tenant_id])

    return run


@pytest.fixture
def rows_of(superuser):
    """How many rows of a tenant each table holds, counted past all locks."""

    def count(tenant):
        columns = {table.name: tenant_column(table) for table in Base.metadata.sorted_tables}
        return {
            name: superuser.execute(
                sql.SQL("SELECT count(*) FROM {} WHERE {} = %s").format(
                    sql.Identifier(name), sql.Identifier(column.name)
                ),
                [tenant.tenant_id],
            ).fetchone()[0]
            for name, column in columns.items()
            if column is not None
        }

    return count
