"""Routes of a resource's own: what they take is declared, and so is who may call them."""

from typing import Any

import pytest
from litestar import get
from litestar.params import FromQuery
from scratch import client_of

from saas.app import create_app
from saas.errors import ConfigurationError
from saas.features.projects import Project, ProjectCreate, ProjectRead, ProjectUpdate
from saas.settings import Settings
from saas.web.described import described, query_parameter
from saas.web.resource import Resource


def resource_with(*routes: Any) -> Any:
    return Resource(Project, ProjectCreate, ProjectUpdate, ProjectRead, routes=routes)


async def test_declared_parameter_is_taken_and_another_one_refused(
    settings: Settings, tenant: Any
) -> None:
    @get(
        "/due",
        **described(
            "projects.due",
            "What is due",
            permission="projects:read",
            success=200,
            body=list[int],
            parameters=[query_parameter("min_cents", {"type": "integer"}, "The least sum.")],
        ),
    )
    async def due(min_cents: FromQuery[int] = 0) -> list[int]:
        return [min_cents]

    app: Any = create_app(settings, (resource_with(due),))
    credential = {"Authorization": f"Bearer {tenant.key}"}

    async with app.app.lifespan(), client_of(app) as http:
        taken = await http.get("/v1/projects/due?min_cents=3", headers=credential)
        refused = await http.get("/v1/projects/due?max_cents=3", headers=credential)
        wrong = await http.get("/v1/projects/due?min_cents=x", headers=credential)

    assert taken.json() == [3]
    assert (refused.status_code, refused.json()["code"]) == (400, "bad_request")
    assert (wrong.status_code, wrong.json()["code"]) == (400, "bad_request")


@pytest.mark.parametrize(
    ("opt", "message"),
    [
        ({}, "declares neither plane nor permission"),
        ({"permission": "projects:approve"}, "'projects:approve', which no role has. There are"),
        ({"permission": "project:read"}, "'project:read', which no role has"),
    ],
)
def test_route_that_would_serve_nobody_stops_the_start(
    settings: Settings, opt: Any, message: str
) -> None:
    @get("/due", opt=opt)
    async def due() -> None: ...

    with pytest.raises(ConfigurationError, match=message):
        create_app(settings, (resource_with(due),))
