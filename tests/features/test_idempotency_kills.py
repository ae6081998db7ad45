"""A server process that is killed with SIGKILL, on either side of its commit, and the repeat."""

import asyncio
import sys
from uuid import uuid4

import httpx
import msgspec
import psycopg
import pytest
from keyed import assert_replays, is_replay, keyed

from processes import free_port

pytestmark = pytest.mark.long

# Serves the app, and stops for good at the moment that the first argument names.
SERVER = """
import asyncio, sys
import msgspec, uvicorn
from saas.app import create_app
from saas.db.connection import TenantConnection
from saas.settings import Settings

moment, port = sys.argv[1], int(sys.argv[2])
app = create_app(msgspec.json.decode(sys.argv[3], type=Settings))
execute = TenantConnection.execute

async def stop():
    print("stopped", flush=True)
    await asyncio.sleep(600)

async def stopping_at_commit(self, query, *arguments, **options):
    if query == "COMMIT" and moment == "before the commit":
        await stop()
    return await execute(self, query, *arguments, **options)

async def stopping_at_answer(scope, receive, send):
    if scope["type"] != "http":
        return await app(scope, receive, send)
    async def stopping(message):
        if moment == "before the answer" and scope["method"] == "POST":
            await stop()
        await send(message)
    await app(scope, receive, stopping)

TenantConnection.execute = stopping_at_commit
uvicorn.run(stopping_at_answer, host="127.0.0.1", port=port, log_level="critical")
"""


@pytest.fixture
def wish():
    slug = f"killed-{uuid4().hex[:12]}"
    owner = {"email": f"ada@{slug}.test", "name": "Ada"}
    return {"slug": slug, "name": "Killed", "plan": "free", "owner": owner}


@pytest.fixture
def tenants_of(postgres):
    def count(wish):
        with psycopg.connect(postgres.dsn(postgres.superuser, "saas")) as connection:
            asked = "SELECT count(*) FROM tenants WHERE slug = %s"
            return connection.execute(asked, [wish["slug"]]).fetchone()[0]

    return count


async def onboarded_until_killed(settings, moment, wish, key, platform_key):
    """Onboard through a process of its own, which is killed at `moment` and never answers."""
    port = free_port()
    command = [sys.executable, "-c", SERVER, moment, str(port), msgspec.json.encode(settings)]
    server = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
            await served(http)
            headers = {"Authorization": f"Bearer {platform_key}", **key["headers"]}
            asking = asyncio.create_task(http.post("/v1/admin/tenants", json=wish, headers=headers))
            assert await asyncio.wait_for(server.stdout.readline(), 60) == b"stopped\n"
            server.kill()
            with pytest.raises(httpx.TransportError):
                await asking
    finally:
        if server.returncode is None:
            server.kill()
        # Not its code: another thread of the suite may have waited for the process first.
        await server.wait()


async def served(http):
    for _ in range(600):
        try:
            await http.get("/livez")
        except httpx.ConnectError:
            await asyncio.sleep(0.05)
        else:
            return
    raise AssertionError("the server does not serve")


async def test_killed_between_commit_and_answer_the_repeat_gets_the_answer(
    operator, http, settings, wish, tenants_of
):
    key = keyed()
    await onboarded_until_killed(settings, "before the answer", wish, key, operator.key)
    effects = tenants_of(wish)

    told = await operator.post("/v1/admin/tenants", wish, **key)
    again = await operator.post("/v1/admin/tenants", wish, **key)

    assert effects == tenants_of(wish) == 1
    assert (told.status_code, is_replay(told)) == (201, True)
    assert told.content == again.content
    bearer = {"Authorization": f"Bearer {told.json()['api_key']['key']}"}
    assert (await http.get("/v1/projects", headers=bearer)).status_code == 200


async def test_killed_before_the_commit_the_repeat_does_the_work_once(
    operator, settings, wish, tenants_of
):
    key = keyed()
    await onboarded_until_killed(settings, "before the commit", wish, key, operator.key)
    effects = tenants_of(wish)

    done = await operator.post("/v1/admin/tenants", wish, **key)
    while done.status_code == 409 and done.json()["code"] == "idempotency_key_in_use":
        # The server has not seen yet that its client is gone.
        await asyncio.sleep(0.05)
        done = await operator.post("/v1/admin/tenants", wish, **key)

    assert effects == 0
    assert (done.status_code, tenants_of(wish)) == (201, 1)
    assert_replays(await operator.post("/v1/admin/tenants", wish, **key), done)
