"""The real server in front of a database of its own, for tests that speak to a socket."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx
import msgspec

from processes import free_port, wait_until
from saas.db.migrate import migrate
from saas.db.roles import APP, MIGRATOR, PLATFORM, bootstrap
from saas.dev.postgres import EmbeddedPostgres
from saas.installation import as_environment
from saas.settings import Settings


class LiveServer(NamedTuple):
    """A serving `saas serve` with one tenant. `database` is the address for the superuser, who
    sees every tenant's rows."""

    port: int
    database: str
    platform_key: str
    onboarded: dict[str, Any]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def key(self) -> str:
        return str(self.onboarded["api_key"]["key"])

    @property
    def slug(self) -> str:
        return str(self.onboarded["tenant"]["slug"])


@contextmanager
def live_server(
    postgres: EmbeddedPostgres, settings: Settings, database: str
) -> Iterator[LiveServer]:
    """Serves a new database `database`, otherwise by `settings`, until the end of the block."""
    wanted = with_database(postgres, settings, database)
    with running(wanted) as url:
        key = str(wanted.platform_key)
        address = postgres.dsn(postgres.superuser, database)
        yield LiveServer(wanted.port, address, key, _onboard(url, key))


def with_database(postgres: EmbeddedPostgres, settings: Settings, database: str) -> Settings:
    """For a new database `database` and a free port."""
    bootstrap(postgres.dsn(postgres.superuser, "postgres"), database=database)
    migrate(postgres.dsn(MIGRATOR, database))
    return msgspec.structs.replace(
        settings,
        port=free_port(),
        database_url=postgres.dsn(APP, database),
        platform_database_url=postgres.dsn(PLATFORM, database),
        migration_database_url=postgres.dsn(MIGRATOR, database),
    )


@contextmanager
def running(settings: Settings) -> Iterator[str]:
    """`saas serve` until the end of the block; its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "saas.cli", "serve"],
        env=as_environment(settings),
        cwd=settings.data_path,
        stdin=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{settings.port}"
    try:
        wait_until(lambda: process.poll() is not None or _is_ready(url))
        assert process.poll() is None
        yield url
    finally:
        process.terminate()
        process.wait()


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def _onboard(url: str, key: str) -> dict[str, Any]:
    answer = httpx.post(
        f"{url}/v1/admin/tenants",
        json={
            "slug": "live",
            "name": "Live",
            "plan": "enterprise",
            "owner": {"email": "owner@live.test", "name": "Owner"},
        },
        headers={"Authorization": f"Bearer {key}"},
    )
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body
