"""Every route of the product, attacked with the credential of another tenant.

The routes come from the running app, so a new one is attacked without a word here. Each attack
has its control: what is refused for the victim's row is done for the attacker's own.
"""

import itertools
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from isolation.attacks import (
    body_for,
    forged,
    grow,
    own_path,
    path_to,
    require_working,
    sent_to,
    steady,
    token,
)
from isolation.bodies import with_value
from isolation.conftest import Ask
from isolation.raw import Raw, rows_of
from isolation.surface import (
    RESOURCE_BY_NAME,
    ROUTES,
    ROUTES_THAT_WRITE,
    ROUTES_TO_READ,
    ROUTES_TO_ROWS,
    ROUTES_WITH_BODY,
    TENANT_ROUTES,
    Pointer,
    Route,
    columns_with_ids,
    id_pointers,
    references_of,
    routes_of,
)
from isolation.worlds import Answer, World
from saas.settings import Settings
from saas.web.telemetry import Edge

# Preconditions and switches reach a row by another way through the code.
PRECONDITIONS: tuple[dict[str, str], ...] = (
    {},
    {"If-Match": '"1"'},
    {"If-Match": '"7", "1"'},
    {"If-None-Match": "*"},
)
SWITCHES = ("", "hard=true", "deleted=include", "as_of={now}")
# Each by itself, and both where a row is destroyed.
ATTACKS = (
    *((switch, {}) for switch in SWITCHES),
    *(("", headers) for headers in PRECONDITIONS if headers),
    *(("hard=true", headers) for headers in PRECONDITIONS if headers),
)
READINGS = (
    "",
    "limit=100&deleted=include",
    "limit=100&offset=0",
    "include_total=true",
    "limit=100&sort=-id",
    "format=csv",
    "format=jsonl",
    "metric=requests&group_by=route",
)
TENANT_READINGS = [route for route in ROUTES_TO_READ if route.plane == "tenant"]


def by_route(routes: list[Route]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("route", routes, ids=str)


def test_every_route_of_the_running_app_is_attacked(app: Edge) -> None:
    served = {str(route) for route in routes_of(app)}
    reach_data = {*ROUTES_TO_ROWS, *ROUTES_TO_READ, *ROUTES_THAT_WRITE}

    assert served == {str(route) for route in ROUTES}
    for route in TENANT_ROUTES:
        # A list's HEAD is asked for with its GET.
        asked_as = route._replace(method="GET") if route.method == "HEAD" else route
        assert route in reach_data or asked_as in reach_data
    assert {route.resource for route in TENANT_ROUTES} - {None} == set(RESOURCE_BY_NAME)


@pytest.mark.changes_nothing
@by_route([route for route in ROUTES if route.plane != "open"])
async def test_a_credential_of_no_plane_or_the_other_is_refused(
    route: Route, as_stranger: Ask, attacker: World, settings: Settings
) -> None:
    path = own_path(route, attacker)
    own = [attacker.caller.key, token(settings, attacker.caller.owner_id, attacker.tenant_id)]
    operators = [str(settings.platform_key), token(settings, "someone", None)]
    good, bad = (own, operators) if route.plane == "tenant" else (operators, own)

    refused = await as_stranger(route.method, path)

    assert refused.status == 401
    for credential in (*bad, "junk", f"{good[0]}x", good[0][:-1], ""):
        for headers in (bearer(credential), {"X-API-Key": credential}):
            assert await as_stranger(route.method, path, headers=headers) == refused
    for headers in (
        {"X-Tenant-ID": attacker.tenant_id},
        {"Authorization": f"Basic {good[0]}"},
        {**bearer(good[0]), "X-API-Key": good[0]},
    ):
        assert await as_stranger(route.method, path, headers=headers) == refused
    if route.method == "GET":
        for credential in good:
            assert (await as_stranger("GET", path, headers=bearer(credential))).status != 401


@pytest.mark.changes_nothing
@by_route([route for route in TENANT_ROUTES if route.method == "GET"])
async def test_a_credential_that_claims_another_tenant_is_refused(
    route: Route, as_stranger: Ask, attacker: World, victim: World, settings: Settings
) -> None:
    path = own_path(route, victim)
    genuine = token(settings, victim.caller.owner_id, victim.tenant_id)
    assert (await as_stranger("GET", path, headers=bearer(genuine))).status != 401

    refused = await as_stranger("GET", path)

    assert refused.status == 401
    for credential in forged(settings, attacker, victim):
        assert await as_stranger("GET", path, headers=bearer(credential)) == refused


@pytest.mark.changes_nothing
@by_route(TENANT_ROUTES)
async def test_selecting_another_tenant_is_like_selecting_none_that_exists(
    route: Route, as_attacker: Ask, attacker: World, victim: World
) -> None:
    path, own = own_path(route, attacker), attacker.tenant_id

    unknown = await as_attacker(route.method, path, headers={"X-Tenant-ID": str(uuid4())})

    assert unknown.status == 404
    for selected in (
        [victim.tenant_id],
        [victim.slug],
        ["no-such-tenant"],
        [own, victim.tenant_id],
        [victim.tenant_id, own],
        [f"{own}, {victim.tenant_id}"],
        [""],
    ):
        headers = [("X-Tenant-ID", value) for value in selected]
        assert await as_attacker(route.method, path, headers=headers) == unknown
    if route.method == "GET":
        plain = steady(await as_attacker("GET", path))
        for name in (own, attacker.slug):
            assert steady(await as_attacker("GET", path, headers={"X-Tenant-ID": name})) == plain


@by_route(ROUTES_TO_ROWS)
async def test_an_id_of_another_tenant_is_as_absent_as_one_that_nobody_has(
    route: Route, as_attacker: Ask, attacker: World, victim: World, raw: Raw
) -> None:
    await require_working(route, as_attacker, attacker)
    before = rows_of(raw, victim.tenant_id)

    for switch, headers in ATTACKS:
        body = body_for(route, attacker)

        async def attack(
            id: str, *, switch: str = switch, headers: object = headers, body: object = body
        ) -> Answer:
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            path = f"{path_to(route, id)}?{switch.format(now=now)}"
            return await as_attacker(route.method, path, headers=headers, json=body)

        absent = await attack(str(uuid4()))
        assert 400 <= absent.status < 500
        assert absent.status != 401
        for id in victim.targets:
            assert await attack(id) == absent
        for spelling in (id.upper(), id.replace("-", ""), f"{{{id}}}", f"urn:uuid:{id}"):
            assert await attack(spelling) == absent

    assert rows_of(raw, victim.tenant_id) == before


@by_route([route for route in ROUTES_WITH_BODY if id_pointers(route.body)])
async def test_an_id_of_another_tenant_in_a_body_is_as_absent_as_one_that_nobody_has(
    route: Route, as_attacker: Ask, attacker: World, victim: World, raw: Raw
) -> None:
    before = rows_of(raw, victim.tenant_id)
    parents = references_of(route.resource)

    for pointer in id_pointers(route.body):

        async def attack(id: str, *, pointer: Pointer = pointer) -> Answer:
            body = with_value(body_for(route, attacker), pointer, id)
            answer = await as_attacker(route.method, own_path(route, attacker), json=body)
            return answer.without(id)

        absent = await attack(str(uuid4()))
        for id in victim.targets:
            answer = await attack(id)
            # A column that refers to nothing takes any id, and makes a new row of it each time.
            if absent.status < 400 and pointer[-1] not in parents:
                assert (answer.status, victim.shown_in(answer)) == (absent.status, [])
            else:
                assert answer == absent
        parent = parents.get(str(pointer[-1]))
        if parent in attacker.parents and route.is_generated:
            assert absent.status == 422
            assert (await attack(attacker.parents[parent])).status in {200, 201}

    assert rows_of(raw, victim.tenant_id) == before


@pytest.mark.changes_nothing
@by_route(ROUTES_TO_READ)
async def test_reading_shows_nothing_of_another_tenant(
    route: Route, as_attacker: Ask, as_stranger: Ask, as_victim: Ask, victim: World
) -> None:
    paths = [f"{route.path}?{reading}" for reading in READINGS]
    if route.plane == "tenant":
        assert any([victim.shown_in(await as_victim("GET", path)) for path in paths])

    for path, ask in itertools.product(paths, (as_attacker, as_stranger)):
        answer = await ask("GET", path)
        assert victim.shown_in(answer) == []
        # A route that is open by mistake has no tenant, and fails.
        assert answer.status < 500


@pytest.mark.changes_nothing
@by_route([route for route in ROUTES if route.plane == "open" and route.parameters])
async def test_a_route_that_is_open_to_all_tells_no_ids_apart(
    route: Route, as_attacker: Ask, as_stranger: Ask, victim: World
) -> None:
    for ask in (as_attacker, as_stranger):
        absent = await ask(route.method, path_to(route, str(uuid4())))
        for id in victim.targets:
            assert await ask(route.method, path_to(route, id)) == absent


@by_route(TENANT_READINGS)
async def test_no_answer_changes_by_what_another_tenant_does(
    route: Route, as_attacker: Ask, attacker: World, victim: World, raw: Raw
) -> None:
    async def seen() -> list[Answer]:
        paths = [f"{route.path}?{reading}" for reading in READINGS]
        # The length in the answer to HEAD would tell as much.
        asked = itertools.product(("GET", "HEAD"), paths)
        return [steady(await as_attacker(method, path)) for method, path in asked]

    before = await seen()
    assert any(attacker.shown_in(answer) for answer in before)

    await grow(victim, raw)

    assert await seen() == before


@pytest.mark.changes_nothing
@by_route(TENANT_READINGS)
async def test_filtering_by_another_tenants_ids_finds_what_absent_ids_find(
    route: Route, as_attacker: Ask, victim: World
) -> None:
    ids = [*victim.targets, victim.tenant_id, victim.caller.owner_id]

    for column, operator in itertools.product(columns_with_ids(), ("", "__in")):

        async def attack(id: str, *, name: str = column + operator) -> Answer:
            answer = await as_attacker("GET", route.path, params={name: id, "limit": "100"})
            return steady(answer).without(id)

        absent = await attack(str(uuid4()))
        for id in ids:
            assert await attack(id) == absent


@by_route(ROUTES_THAT_WRITE)
async def test_writing_reaches_nothing_of_another_tenant(
    route: Route, as_attacker: Ask, attacker: World, victim: World, raw: Raw
) -> None:
    before = rows_of(raw, victim.tenant_id)

    for headers in PRECONDITIONS:
        sent = sent_to(route, attacker, headers)
        answer = await as_attacker(route.method, route.path, **sent)
        assert victim.shown_in(answer) == []
        if route.is_generated:
            assert answer.status == 201
        if route.takes_file:
            assert answer.status == 202

    assert rows_of(raw, victim.tenant_id) == before


@by_route(ROUTES_WITH_BODY)
async def test_a_tenant_in_the_body_is_refused(
    route: Route, as_attacker: Ask, attacker: World, victim: World, raw: Raw
) -> None:
    path = own_path(route, attacker)
    if route.is_generated:
        body = body_for(route, attacker)
        assert (await as_attacker(route.method, path, json=body)).status in {200, 201}
    before = rows_of(raw, victim.tenant_id)

    for name, tenant in itertools.product(
        ("tenant_id", "tenant", "tid"), (victim.tenant_id, attacker.tenant_id)
    ):
        body = {**body_for(route, attacker), name: tenant}
        assert (await as_attacker(route.method, path, json=body)).status == 422

    assert rows_of(raw, victim.tenant_id) == before


def bearer(credential: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {credential}"}
