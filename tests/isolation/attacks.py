"""What an attack is made of: the paths, the credentials, and what makes two answers comparable."""

import itertools
import re
from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

from isolation.bodies import with_value
from isolation.conftest import Ask
from isolation.raw import Raw, fill, use
from isolation.surface import RESOURCE_BY_NAME, Route, id_pointers
from isolation.worlds import Answer, World, create, try_import
from saas.auth.keys import PREFIX_LENGTH, TENANT_END
from saas.auth.signing_key import signing_key_from
from saas.auth.tokens import TokenIssuer
from saas.settings import Settings

# The clock, and what counts the caller's own requests.
_VARYING = re.compile(rb'"(?:as_of|requests)":(?:"[^"]*"|{[^}]*})')


def path_to(route: Route, id: str) -> str:
    path = route.path
    for name in route.parameters:
        path = path.replace(f"{{{name}}}", id)
    return path


def own_path(route: Route, world: World) -> str:
    """The path to a live row of `world`: of the table that the path names, else to any row."""
    table = route.path.removeprefix("/v1/").partition("/")[0]
    rows = world.live.get(table) or [world.others.get(table, world.targets[-1])]
    return path_to(route, rows[-1])


def steady(answer: Answer) -> Answer:
    """The answer without what changes by itself from one request to the next."""
    return answer._replace(body=_VARYING.sub(b"", answer.body))


def token(settings: Settings, subject: str, tenant: str | None) -> str:
    """A token with a good signature; of the platform's plane without a tenant."""
    issuer = TokenIssuer(
        signing_key_from(settings),
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience if tenant else settings.platform_audience,
        requires_tenant=tenant is not None,
    )
    return issuer.issue(subject, tenant_id=UUID(tenant) if tenant else None)


def forged(settings: Settings, attacker: World, victim: World) -> list[str]:
    """Credentials of the attacker that claim the victim's tenant."""
    own, foreign = attacker.caller.key, victim.caller.key
    key_id = attacker.caller.body["api_key"]["id"]
    return [
        own[:PREFIX_LENGTH] + foreign[PREFIX_LENGTH:TENANT_END] + own[TENANT_END:],
        foreign[:TENANT_END] + own[TENANT_END:],
        foreign[:PREFIX_LENGTH] + own[PREFIX_LENGTH:],
        # As an issuer with a fault would sign it: somebody of one tenant, the id of another.
        token(settings, attacker.caller.owner_id, victim.tenant_id),
        token(settings, f"key:{key_id}", victim.tenant_id),
        token(settings, str(uuid4()), victim.tenant_id),
    ]


async def require_working(route: Route, ask: Ask, world: World) -> None:
    """The allowed control: with an id of its own the route answers `world` as it should, so that
    the refusal of a foreign id is about the id."""
    absent = await ask(route.method, path_to(route, str(uuid4())), json=body_for(route, world))
    for id, body in itertools.product(world.targets, _own_bodies(route, world)):
        answer = await ask(route.method, path_to(route, id), json=body)
        if answer.status < 400 if route.is_generated else answer != absent:
            return
    raise AssertionError(f"allowed control: {route} serves none of the caller's own rows")


def _own_bodies(route: Route, world: World) -> list[Any]:
    """Bodies with ids of its own. What the ids of a resource refer to is known; elsewhere each
    one is tried."""
    body = body_for(route, world)
    if route.is_generated:
        return [body]
    tried = [
        with_value(body, pointer, id) for pointer in id_pointers(route.body) for id in world.targets
    ]
    return tried or [body]


def body_for(route: Route, world: World) -> Any:
    """A new valid body, None where the route takes none."""
    return None if route.body is None else world.body(route.body, route.resource)


def sent_to(route: Route, world: World, headers: Mapping[str, str]) -> dict[str, Any]:
    """The options of a request with a new valid body or file, whose `headers` say what it is."""
    if not route.takes_file or route.resource is None:
        return {"json": body_for(route, world), "headers": headers}
    file = world.file(route.resource)
    return {"content": file, "headers": {**headers, "Content-Type": "text/csv"}}


async def grow(world: World, raw: Raw) -> None:
    """More of everything, live and deleted."""
    fill(raw, world.tenant_id, leaving_out=frozenset(RESOURCE_BY_NAME))
    use(raw, world.tenant_id, f"/v1/{world.marker}/more")
    for name in world.live:
        await create(world, name)
        gone = await world.caller.delete(f"/v1/{name}/{await create(world, name)}")
        assert gone.status_code == 204, gone.text
        await try_import(world, name)
