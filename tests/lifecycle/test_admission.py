"""Who is cut off in the middle of a request does not go on with it."""

import asyncio

import msgspec
import pytest
from litestar import get
from litestar.exceptions import LitestarException

from saas.app import create_app
from saas.context import require_admission
from saas.errors import TenantSuspended, Unauthenticated

CUTS = {
    "suspended": ("UPDATE tenants SET status = 'suspended' WHERE id = %s", "tenant", 403),
    "offboarded": ("UPDATE tenants SET status = 'deleting' WHERE id = %s", "tenant", 401),
    "revoked": ("UPDATE api_keys SET revoked_at = now() WHERE id = %s", "key", 401),
    "made a viewer": ("UPDATE api_keys SET role = 'viewer' WHERE id = %s", "key", 403),
}


@pytest.fixture
def cut(superuser):
    """Cut a tenant or its first key off."""

    def run(tenant, case):
        statement, whose, _ = CUTS[case]
        superuser.execute("SELECT set_config('app.tenant_id', %s, false)", [tenant.tenant_id])
        id = tenant.tenant_id if whose == "tenant" else tenant.body["api_key"]["id"]
        assert superuser.execute(statement, [id]).rowcount == 1

    return run


async def slowly(before_the_end):
    """The body of a create, whose end comes late."""
    yield b'{"name": '
    before_the_end()
    await asyncio.sleep(0.15)
    yield b'"Rocket"}'


@pytest.mark.parametrize("case", CUTS)
async def test_body_that_comes_slowly_is_not_stored_for_who_was_cut_off(
    case, tenant, forgetful, cut, rows_of
):
    headers = {"Authorization": f"Bearer {tenant.key}", "Content-Type": "application/json"}

    async def upload(before_the_end):
        body = slowly(before_the_end)
        return await forgetful.post("/v1/projects", content=body, headers=headers)

    allowed = await upload(lambda: None)
    assert allowed.status_code == 201, allowed.text
    await tenant.delete(f"/v1/projects/{allowed.json()['id']}?hard=true")

    refused = await upload(lambda: cut(tenant, case))

    assert refused.status_code == CUTS[case][2], refused.text
    assert rows_of(tenant)["projects"] == 0


class Counted:
    """An answer in pieces, before each of which it asks; between two it waits for `go_on`."""

    def __init__(self):
        self.pieces = 0
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()

    async def __call__(self, scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(3):
            await require_admission()
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            self.pieces += 1
            self.begun.set()
            await self.go_on.wait()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


REFUSALS = {
    "suspended": TenantSuspended,
    "offboarded": Unauthenticated,
    "revoked": Unauthenticated,
}


@pytest.mark.parametrize("case", REFUSALS)
async def test_answer_that_goes_on_for_long_ends_for_who_was_cut_off(
    case, tenant, other_tenant, settings, serve, cut
):
    answers = []
    app = create_app(msgspec.structs.replace(settings, principal_cache_seconds=0))

    @get("/v1/long", opt={"permission": "projects:read"}, sync_to_thread=False)
    def long_answer() -> Counted:
        return answers[-1]

    app.app.register(long_answer)
    async with serve(app) as client:

        async def ask(caller):
            answers.append(Counted())
            headers = {"Authorization": f"Bearer {caller.key}"}
            asking = asyncio.create_task(client.get("/v1/long", headers=headers))
            await answers[-1].begun.wait()
            return answers[-1], asking

        whole, asking = await ask(other_tenant)
        cut_short, broken = await ask(tenant)
        cut(tenant, case)
        whole.go_on.set()
        cut_short.go_on.set()

        assert (await asking).content == b"xxx"
        # The answer has begun, so the connection breaks; the server logs why.
        with pytest.raises(LitestarException) as torn:
            await broken
    reason = torn.value
    while isinstance(reason, LitestarException):
        reason = reason.__cause__
    assert isinstance(reason, REFUSALS[case])
    assert (whole.pieces, cut_short.pieces) == (3, 1)


async def test_outside_a_request_there_is_nothing_to_ask():
    assert await require_admission() is None
