"""One PostgreSQL, one app and as many tenants as a test asks for.

Every request runs in a context of its own, as on a server: in the test's own context, a principal
that the app forgot to take out would stay there and hide, or make, a leak.
"""

import asyncio
import gc
import itertools
import logging
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import Context
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from command_line import Saas, saas_on
from saas.app import create_app
from saas.db.migrate import migrate
from saas.db.roles import APP, MIGRATOR, PLATFORM, bootstrap
from saas.dev.postgres import EmbeddedPostgres
from saas.settings import Settings
from saas.web.telemetry import Edge
from throwaway import throwaway_folder

PLATFORM_KEY = "pk_test_platform_key"
# Files whose tests wait for processes go first, so that no worker is alone with one at the end.
LONG_FILES = (
    "test_dev.py",
    "test_adding_a_resource.py",
    "test_two_locks.py",
    "test_boot.py",
    "test_migrations.py",
    "test_postgres.py",
    "test_postgres_processes.py",
)

# What costs time and shows nothing: a line for every request, and looking for garbage among all
# that a worker has imported.
logging.getLogger("httpx").setLevel(logging.WARNING)
gc.set_threshold(100_000, 50, 100)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {name: place for place, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


class IsolatedTransport(httpx.AsyncBaseTransport):
    """Calls the app in a fresh context for each request."""

    def __init__(self, app: Any) -> None:
        self._inner = httpx.ASGITransport(app)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        call = self._inner.handle_async_request(request)
        return await asyncio.create_task(call, context=Context())


class Caller:
    """A caller of the API with one credential."""

    def __init__(self, http: httpx.AsyncClient, key: str, body: dict[str, Any]) -> None:
        self._http = http
        self.key = key
        self.body = body

    @property
    def tenant_id(self) -> str:
        return str(self.body["tenant"]["id"])

    @property
    def owner_id(self) -> str:
        return str(self.body["owner"]["id"])

    async def __call__(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.key}", **options.pop("headers", {})}
        return await self._http.request(method, path, headers=headers, **options)

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self("GET", path, **options)

    async def post(self, path: str, json: Any = None, **options: Any) -> httpx.Response:
        return await self("POST", path, json=json, **options)

    async def patch(self, path: str, json: Any, **options: Any) -> httpx.Response:
        return await self("PATCH", path, json=json, **options)

    async def delete(self, path: str, **options: Any) -> httpx.Response:
        return await self("DELETE", path, **options)

    async def create(self, resource: str, **values: Any) -> dict[str, Any]:
        answer = await self.post(f"/v1/{resource}", values)
        assert answer.status_code == 201, answer.text
        row: dict[str, Any] = answer.json()
        return row


Onboard = Callable[..., Awaitable[Caller]]


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """A server of the suite's own, with the four roles."""
    folder = throwaway_folder("saas-tests-")
    server = EmbeddedPostgres(folder, durable=False)
    try:
        server.start()
        bootstrap(server.dsn(server.superuser, "postgres"))
        yield server
    finally:
        server.stop(immediate=True)
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def settings(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of an installation on the migrated database `saas`."""
    migrate(postgres.dsn(MIGRATOR))
    return settings_for(postgres, "saas", tmp_path_factory.mktemp("installation"))


def settings_for(postgres: EmbeddedPostgres, database: str, folder: Path) -> Settings:
    return Settings(
        data_dir=str(folder),
        database_url=postgres.dsn(APP, database),
        platform_database_url=postgres.dsn(PLATFORM, database),
        migration_database_url=postgres.dsn(MIGRATOR, database),
        platform_key=PLATFORM_KEY,
        jwt_secret="a secret of the suite, long enough",
        metrics_token="metrics-token",
        access_log=False,
        # Never while a test looks at all that a tenant has.
        key_use_seconds=3_600,
        usage_seconds=3_600,
        # A test that purges does so itself.
        purge_interval_seconds=0,
    )


@asynccontextmanager
async def serving(app: Edge) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client on `app`, inside its lifespan. The lifespan has a task of its own, because a
    fixture begins and ends in two."""
    started, stop = asyncio.Event(), asyncio.Event()

    async def live() -> None:
        async with app.app.lifespan():
            started.set()
            await stop.wait()

    life = asyncio.create_task(live())
    await asyncio.wait(
        {life, waiting := asyncio.create_task(started.wait())}, return_when="FIRST_COMPLETED"
    )
    waiting.cancel()
    if life.done():
        await life
    try:
        async with httpx.AsyncClient(
            transport=IsolatedTransport(app), base_url="http://test"
        ) as client:
            yield client
    finally:
        stop.set()
        await life


@pytest.fixture(scope="session")
def serve() -> Callable[[Edge], AbstractAsyncContextManager[httpx.AsyncClient]]:
    """`serving`, for a test with an app of its own."""
    return serving


@pytest.fixture(scope="session")
def app(settings: Settings) -> Edge:
    return create_app(settings)


@pytest.fixture(scope="session")
async def http(app: Edge) -> AsyncIterator[httpx.AsyncClient]:
    """The client without a credential."""
    async with serving(app) as client:
        yield client


@pytest.fixture(scope="session")
def onboard(http: httpx.AsyncClient) -> Onboard:
    """Makes a new tenant for each call."""
    numbers = itertools.count()

    async def make(plan: str = "enterprise") -> Caller:
        slug = f"tenant-{next(numbers)}"
        answer = await http.post(
            "/v1/admin/tenants",
            json={
                "slug": slug,
                "name": slug.title(),
                "plan": plan,
                "owner": {"email": f"owner@{slug}.test", "name": "Owner"},
            },
            headers={"Authorization": f"Bearer {PLATFORM_KEY}"},
        )
        assert answer.status_code == 201, answer.text
        return Caller(http, answer.json()["api_key"]["key"], answer.json())

    return make


@pytest.fixture
async def tenant(onboard: Onboard) -> Caller:
    return await onboard()


@pytest.fixture
async def other_tenant(onboard: Onboard) -> Caller:
    return await onboard()


@pytest.fixture
def operator(http: httpx.AsyncClient) -> Caller:
    """The platform administrator."""
    return Caller(http, PLATFORM_KEY, {})


@pytest.fixture
def saas(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Saas:
    """Runs one command in an empty folder; `saas_on` has the rest."""
    return saas_on(settings, monkeypatch, tmp_path)


@pytest.fixture
def on_plan(onboard: Onboard, operator: Caller) -> Onboard:
    """Makes a tenant on a plan of its own, with these limits by name."""

    async def make(**limits: int | None) -> Caller:
        plan = {"slug": f"plan-{uuid4().hex[:12]}", "name": "One tenant's", "limits": limits}
        made = await operator.post("/v1/admin/plans", plan)
        assert made.status_code == 201, made.text
        return await onboard(plan["slug"])

    return make
