"""Every route of both planes for every kind of caller. What is expected follows from what the route
itself declares: its plane, its permission."""

import re
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
from litestar.routes import HTTPRoute
from refusals import assert_refused

from saas.app import RESOURCES
from saas.auth.permissions import EVERYONE, PermissionCatalogue, Role
from saas.tenancy.access_entry import permissions_of_access

CATALOGUE = PermissionCatalogue(resource.name for resource in RESOURCES)
EXCHANGE = "/v1/auth/token"
ROLES = [role.value for role in Role]


class Tried(NamedTuple):
    """One method of one route, with an id that no row has, so that trying it changes nothing."""

    method: str
    path: str
    plane: str
    permission: str
    own_permission: str | None

    def body(self) -> Any:
        return {} if self.method in {"POST", "PATCH"} else None

    def is_open_to(self, permissions: frozenset[str]) -> bool:
        return self.permission == EVERYONE or self.permission in permissions


@pytest.fixture(scope="session")
def routes(app) -> list[Tried]:
    found = []
    for route in app.app.routes:
        assert isinstance(route, HTTPRoute)
        for method, (handler, _) in route.route_handler_map.items():
            opt = handler.opt
            if opt and opt.get("plane", "tenant") != "open":
                path = re.sub(r"\{\w+\}", str(uuid4()), route.path_format)
                permission, own = opt.get("permission", ""), opt.get("own_permission")
                plane = opt.get("plane", "tenant")
                found.append(Tried(str(method), path, plane, permission, own))
    # The caller's own token ends with all others of the tenant.
    return sorted(found, key=lambda route: route.path.endswith("/revoke-tokens"))


@pytest.fixture(scope="session")
def tried(routes) -> list[Tried]:
    return [route for route in routes if route.plane == "tenant"]


@pytest.fixture(scope="session")
def of_platform(routes) -> list[Tried]:
    return [route for route in routes if route.plane == "platform"]


async def assert_matrix(caller, tried, permissions):
    """That the caller gets exactly what somebody with these permissions may have."""
    for route in tried:
        answer = await caller(route.method, route.path, json=route.body())
        if route.is_open_to(permissions):
            if route.path == EXCHANGE and not caller.key.startswith("sk_"):
                assert_refused(answer, 403, "api_key_required")
                continue
            # Refused for the empty body or the id, or done: but not for who asks.
            assert answer.status_code not in {401, 403, 405, 500}, (route, answer.text)
        else:
            problem = assert_refused(answer, 403, "permission_denied")
            assert problem["permission"] == route.permission


def test_every_route_declares_a_permission_that_some_role_has(tried, of_platform):
    assert len(tried) > 30
    assert len(of_platform) > 10
    for route in tried:
        assert route.permission in CATALOGUE.all | {EVERYONE}, route
        assert route.own_permission in CATALOGUE.all | {None}, route


def test_whoever_may_only_read_writes_nothing(tried):
    # An import asks for the right to its resource's rows once it is known which that is:
    # tests/features/test_importing_rights.py.
    is_of_import = re.compile("/v1/imports(/|$)").match
    everyone = {
        (route.method, route.path)
        for route in tried
        if route.permission == EVERYONE and not is_of_import(route.path)
    }
    assert everyone == {("GET", "/v1/me"), ("POST", EXCHANGE)}
    for route in tried:
        if route.permission != EVERYONE:
            kind = route.permission.rpartition(":")[2]
            assert (kind == "read") == (route.method == "GET"), route


@pytest.mark.parametrize("role", ROLES)
async def test_member_may_do_what_the_role_has(tenant, join, tried, role):
    await assert_matrix(await join(tenant, role), tried, CATALOGUE.of_role(role))


@pytest.mark.parametrize("role", ROLES)
async def test_key_may_do_what_the_role_of_its_maker_has(tenant, join, new_key, tried, role):
    maker = await join(tenant, "owner")
    permissions = CATALOGUE.of_role(role)

    await assert_matrix(await new_key(maker, permissions=sorted(permissions)), tried, permissions)


async def test_key_with_one_permission_may_do_that_alone(tenant, new_key, tried):
    for permission in sorted(CATALOGUE.all):
        key = await new_key(tenant, permissions=[permission])
        await assert_matrix(key, tried, frozenset({permission}))


async def test_key_that_lacks_one_permission_lacks_that_alone(tenant, new_key, tried):
    for permission in sorted(CATALOGUE.all):
        others = CATALOGUE.all - {permission}
        key = await new_key(tenant, permissions=sorted(others))
        concerned = [r for r in tried if permission in (r.permission, r.own_permission)]
        await assert_matrix(key, concerned, others)


async def test_owner_of_another_tenant_may_do_nothing_here(tenant, other_tenant, join, tried):
    owner = await join(other_tenant, "owner")
    for caller in (owner, other_tenant):
        for route in tried:
            answer = await caller(
                route.method,
                route.path,
                json=route.body(),
                headers={"X-Tenant-ID": tenant.tenant_id},
            )
            assert_refused(answer, 404, "not_found")


@pytest.mark.parametrize("write", [False, True])
async def test_operator_inside_may_do_what_the_access_gives(tenant, break_glass, tried, write):
    inside = await break_glass(tenant, write=write)

    await assert_matrix(inside, tried, permissions_of_access(CATALOGUE, may_write=write))


async def test_nobody_of_a_tenant_reaches_the_platform(tenant, join, break_glass, of_platform):
    for caller in (tenant, await join(tenant, "owner"), await break_glass(tenant, write=True)):
        for route in of_platform:
            answer = await caller(route.method, route.path, json=route.body())
            assert_refused(answer, 401, "unauthenticated")


async def test_operator_reaches_the_whole_platform(operator, of_platform):
    for route in of_platform:
        answer = await operator(route.method, route.path, json=route.body())
        assert answer.status_code not in {401, 403, 405, 500}, (route, answer.text)


async def test_stranger_and_operator_may_do_nothing(http, operator, tried):
    for route in tried:
        for answer in (
            await http.request(route.method, route.path, json=route.body()),
            await operator(route.method, route.path, json=route.body()),
        ):
            assert_refused(answer, 401, "unauthenticated")
