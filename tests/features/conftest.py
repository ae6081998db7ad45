"""Rows written past the API, and callers with less than all rights."""

from collections.abc import Iterator
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from saas.auth.signing_key import signing_key_from
from saas.auth.tokens import TokenIssuer
from saas.db.roles import APP


@pytest.fixture(scope="session")
def app_connection(postgres, settings) -> Iterator[psycopg.Connection]:
    """As the app's own role on the migrated database. Each statement commits by itself."""
    with psycopg.connect(postgres.dsn(APP), autocommit=True) as connection:
        yield connection


@pytest.fixture
def in_tenant(app_connection):
    """Runs SQL on the rows of one tenant; row-level security hides all others."""

    def run(tenant, statement, *values):
        bound = sql.Literal(tenant.tenant_id)
        app_connection.execute(sql.SQL("SET app.tenant_id = {}").format(bound))
        cursor = app_connection.execute(statement, values)
        return cursor.fetchall() if cursor.description else []

    return run


@pytest.fixture
def member_with(settings, http):
    """A caller like the tenant's owner, whose token carries only `role` or `permissions`."""
    tokens = TokenIssuer(
        signing_key_from(settings), issuer=settings.jwt_issuer, audience=settings.jwt_audience
    )

    def narrowed(tenant, **claims):
        token = tokens.issue(tenant.owner_id, tenant_id=UUID(tenant.tenant_id), **claims)
        return type(tenant)(http, token, tenant.body)

    return narrowed


@pytest.fixture
def as_superuser(postgres, settings):
    """Runs SQL that no role of the product may."""

    def run(statement, *values):
        with psycopg.connect(postgres.dsn(postgres.superuser, "saas")) as connection:
            connection.execute(statement, values)

    return run
