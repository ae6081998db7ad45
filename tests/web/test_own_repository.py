"""A resource with a repository of its own, asked by a route of its own."""

from typing import Any, cast

from litestar import get
from litestar.types import ASGIApp
from scratch import client_of

from saas.app import RESOURCES, create_app
from saas.db.repository import TenantRepository
from saas.db.where import where
from saas.features.projects import (
    Project,
    ProjectCreate,
    ProjectRead,
    ProjectUpdate,
)
from saas.settings import Settings
from saas.web.answer import json_answer
from saas.web.described import described
from saas.web.resource import Resource


class Projects(TenantRepository[Project, ProjectRead]):
    async def idle(self) -> list[ProjectRead]:
        return (await self.list(where(is_active=False, sort="name"))).items


@get(
    "/idle",
    **described("projects.idle", "Idle", permission="projects:read", success=200, body=list[str]),
)
async def idle() -> ASGIApp:
    rows = await cast(Projects, resource.repository).idle()
    return json_answer([row.name for row in rows])


resource = Resource(
    Project,
    ProjectCreate,
    ProjectUpdate,
    ProjectRead,
    search=("name",),
    natural_key=("name",),
    routes=[idle],
    repository=Projects,
)


async def test_a_route_asks_the_resources_own_repository(settings: Settings, onboard: Any) -> None:
    tenant, other = await onboard(), await onboard()
    for name in ("b", "a"):
        await tenant.create("projects", name=f"{name} idle", is_active=False)
    await tenant.create("projects", name="busy")
    await other.create("projects", name="theirs", is_active=False)
    app = create_app(settings, (resource, *RESOURCES[1:]))
    credential = {"Authorization": f"Bearer {tenant.key}"}

    async with app.app.lifespan(), client_of(app) as http:  # type: ignore[attr-defined]
        answer = await http.get("/v1/projects/idle", headers=credential)
        generated = await http.get("/v1/projects?q=idle", headers=credential)

    assert answer.json() == ["a idle", "b idle"]
    assert len(generated.json()["items"]) == 2
    assert resource.repository.natural_key == ("name",)
