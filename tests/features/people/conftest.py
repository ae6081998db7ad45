"""People who come as people come, by invitation, and callers with less than all rights."""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest

from saas.app import create_app
from saas.auth.signing_key import signing_key_from
from saas.auth.tokens import TokenIssuer
from saas.settings import Settings

Join = Callable[..., Awaitable[Any]]
_numbers = itertools.count(1)


@pytest.fixture
def new_email() -> Callable[[], str]:
    return lambda: f"person-{next(_numbers)}@people.test"


@pytest.fixture
def join(http: httpx.AsyncClient, new_email: Callable[[], str]) -> Join:
    """Makes a member of the tenant of a caller who may invite; gives the member as a caller, whose
    `owner_id` is the member's own id. `credential` is that of the person elsewhere."""

    async def make(
        inviter: Any,
        role: str = "member",
        *,
        email: str | None = None,
        credential: str | None = None,
    ) -> Any:
        wish = {"email": email or new_email(), "role": role}
        invited = await inviter.post("/v1/invitations", wish)
        assert invited.status_code == 201, invited.text
        body = {"token": invited.json()["token"], "name": f"A {role}"}
        headers = {"Authorization": f"Bearer {credential}"} if credential else {}
        accepted = await http.post("/v1/invitations/accept", json=body, headers=headers)
        assert accepted.status_code == 201, accepted.text
        found = accepted.json()
        return type(inviter)(
            http, found["access_token"], {"tenant": found["tenant"], "owner": found["member"]}
        )

    return make


@pytest.fixture
async def new_key(http: httpx.AsyncClient) -> Callable[..., Awaitable[Any]]:
    """Makes an API key as some caller; gives it as a caller, with the whole answer as its body."""

    async def make(maker: Any, **wish: Any) -> Any:
        made = await maker.post("/v1/api-keys", {"name": "A key", **wish})
        assert made.status_code == 201, made.text
        return type(maker)(http, made.json()["key"], {**maker.body, "api_key": made.json()})

    return make


@pytest.fixture
def break_glass(http: httpx.AsyncClient, operator: Any) -> Join:
    """Enters a tenant as an operator does; gives who is inside as a caller."""

    async def enter(tenant: Any, **wish: Any) -> Any:
        ends = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        body = {"reason": "Ticket 42", "expires_at": ends, **wish}
        opened = await operator.post(f"/v1/admin/tenants/{tenant.tenant_id}/access", body)
        assert opened.status_code == 201, opened.text
        return type(tenant)(http, opened.json()["access_token"], tenant.body)

    return enter


@pytest.fixture
def narrowed(settings: Settings, http: httpx.AsyncClient) -> Callable[..., Any]:
    """The same member with a token that carries only `role` or `permissions`."""
    tokens = TokenIssuer(
        signing_key_from(settings), issuer=settings.jwt_issuer, audience=settings.jwt_audience
    )

    def make(member: Any, **claims: Any) -> Any:
        token = tokens.issue(member.owner_id, tenant_id=UUID(member.tenant_id), **claims)
        return type(member)(http, token, member.body)

    return make


@pytest.fixture(scope="session")
async def uncached(settings: Settings, serve: Any) -> AsyncIterator[Callable[[Any], Any]]:
    """The same caller on another node of the installation, one that remembers no credential."""
    app = create_app(msgspec.structs.replace(settings, principal_cache_seconds=0))
    async with serve(app) as client:
        yield lambda caller: type(caller)(client, caller.key, caller.body)


@pytest.fixture
def set_status(as_superuser: Callable[..., None]) -> Callable[[Any, str], None]:
    """Suspends a tenant and the like, which is the operator's to do."""

    def change(tenant: Any, status: str) -> None:
        # The audit trigger needs a bound tenant, whoever writes.
        id = UUID(tenant.tenant_id)
        as_superuser(
            f"SELECT set_config('app.tenant_id', '{id}', true); "
            f"UPDATE tenants SET status = '{status}' WHERE id = '{id}'"
        )

    return change
