"""Two tenants for each test: one who has something to lose, and one who tries to get at it."""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from isolation.raw import Raw, empty, fill, raw_database
from isolation.worlds import Answer, Onboard, World, ask, populated
from saas.dev.postgres import EmbeddedPostgres
from saas.settings import Settings
from saas.web.telemetry import Edge

Ask = Callable[..., Awaitable[Answer]]
NewTenant = Callable[[], UUID]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "changes_nothing: the test may share its tenants.")


@pytest.fixture(scope="session")
def raw(postgres: EmbeddedPostgres, settings: Settings) -> Iterator[Raw]:
    """The migrated database; `settings` has migrated it."""
    with raw_database(postgres, "saas") as raw:
        yield raw


@pytest.fixture(scope="module")
def new_tenant(raw: Raw) -> Iterator[NewTenant]:
    """Makes tenants in plain SQL, with a row in every table and no entry among the tenants; they
    are gone at the end of the module, because other tests count such rows."""
    made: list[UUID] = []

    def make() -> UUID:
        made.append(uuid4())
        fill(raw, made[-1])
        return made[-1]

    yield make
    for tenant in made:
        empty(raw, tenant)


@pytest.fixture(scope="session")
async def standing(onboard: Onboard, raw: Raw) -> tuple[World, World]:
    """Two tenants for the tests that change nothing, so that not each has to make its own."""
    return await populated(await onboard(), raw), await populated(await onboard(), raw)


@pytest.fixture
async def victim(
    request: pytest.FixtureRequest, standing: tuple[World, World], onboard: Onboard, raw: Raw
) -> World:
    if request.node.get_closest_marker("changes_nothing"):
        return standing[0]
    return await populated(await onboard(), raw)


@pytest.fixture
async def attacker(
    request: pytest.FixtureRequest, standing: tuple[World, World], onboard: Onboard, raw: Raw
) -> World:
    if request.node.get_closest_marker("changes_nothing"):
        return standing[1]
    return await populated(await onboard(), raw)


@pytest.fixture
def as_attacker(app: Edge, attacker: World) -> Ask:
    async def call(method: str, path: str, **options: Any) -> Answer:
        return await ask(attacker.caller, app, method, path, **options)

    return call


@pytest.fixture
def as_victim(app: Edge, victim: World) -> Ask:
    async def call(method: str, path: str, **options: Any) -> Answer:
        return await ask(victim.caller, app, method, path, **options)

    return call


@pytest.fixture
def as_stranger(app: Edge, http: httpx.AsyncClient) -> Ask:
    """Without a credential, but for what is given as a header. `http` is what serves the app."""

    async def call(method: str, path: str, **options: Any) -> Answer:
        return await ask(None, app, method, path, **options)

    return call
