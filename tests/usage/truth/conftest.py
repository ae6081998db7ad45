"""What the tests of usage share: the tables past all locks, pools of one's own, the command."""

import asyncio
import contextlib
import io
import json
import os
from uuid import UUID

import psycopg
import pytest

from saas.cli import main
from saas.db.database import Database
from saas.installation import as_environment


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


@pytest.fixture
def doctor(settings, monkeypatch, tmp_path):
    """Run `saas doctor` with these arguments; its exit code, what it printed and what it refused.
    With `--json` the document."""
    # Nothing of the developer's, in `.env` or the environment, may decide anything.
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("SAAS_")]:
        monkeypatch.delenv(name)
    for name, value in as_environment(settings).items():
        monkeypatch.setenv(name, value)

    async def run(*arguments):
        # In a thread: a command runs an event loop of its own.
        code, printed, refused = await asyncio.to_thread(_run, ["doctor", *arguments])
        return code, json.loads(printed) if "--json" in arguments and printed else printed, refused

    return run


def _run(arguments):
    printed, refused = io.StringIO(), io.StringIO()
    code = 0
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(refused):
        try:
            main(arguments)
        except SystemExit as stop:
            code = stop.code or 0
    return code, printed.getvalue(), refused.getvalue()
