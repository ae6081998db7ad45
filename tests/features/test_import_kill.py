"""A server process that is killed with SIGKILL while it imports, and what goes on from there."""

import asyncio
import random
import sys
from typing import Any

import httpx
import msgspec
import psycopg
import pytest
from importing import CSV, bad_rows_of, counts, ended, record_of

from processes import free_port

pytestmark = pytest.mark.long

# Serves the app, and kills itself at one of the commits of the work, on either side of it.
SERVER = """
import os, signal, sys
import msgspec, uvicorn
from saas.app import create_app
from saas.db.connection import TenantConnection
from saas.db.imports import upload
from saas.settings import Settings

commits, port = int(sys.argv[1]), int(sys.argv[2])
upload.PIECE_BYTES = 1_000
app = create_app(msgspec.json.decode(sys.argv[3], type=Settings))
execute = TenantConnection.execute

async def killed_at_commit(self, query, *arguments, **options):
    global commits
    is_work = query == "COMMIT" and self.bound_to is not None and answered
    commits -= is_work
    if is_work and commits == 0 and sys.argv[4] == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    done = await execute(self, query, *arguments, **options)
    if is_work and commits == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return done

answered = False

async def noting_the_answer(scope, receive, send):
    async def noted(message):
        global answered
        await send(message)
        answered = answered or scope["path"].endswith("/import")
    await app(scope, receive, noted if scope["type"] == "http" else send)

TenantConnection.execute = killed_at_commit
uvicorn.run(noting_the_answer, host="127.0.0.1", port=port, log_level="critical")
"""

GOOD, BAD = 475, 25
FILE = "name,description\n" + "".join(
    f"Project {n:03},{'x' * 40}\n" if n % 20 else f"X,{n}\n" for n in range(GOOD + BAD)
)


async def import_until_killed(settings: Any, key: str) -> str:
    """The id of the import that a server of its own began before it was killed."""
    port = free_port()
    # The first two are of the import itself and of its first piece.
    moment = str(random.randint(3, 15)), str(port)
    side = random.choice(("before", "after"))
    command = [sys.executable, "-c", SERVER, *moment, msgspec.json.encode(settings), side]
    server = await asyncio.create_subprocess_exec(*command)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
            await _served(http)
            headers = {"Authorization": f"Bearer {key}", **CSV}
            answer = await http.post("/v1/projects/import", content=FILE, headers=headers)
            assert answer.status_code == 202, answer.text
            await asyncio.wait_for(server.wait(), 60)
    finally:
        if server.returncode is None:
            server.kill()
        await server.wait()
    return str(answer.json()["id"])


async def _served(http: httpx.AsyncClient) -> None:
    for _ in range(600):
        try:
            await http.get("/livez")
        except httpx.ConnectError:
            await asyncio.sleep(0.05)
        else:
            return
    raise AssertionError("the server does not serve")


async def test_an_import_survives_the_kill_of_its_server(
    tenant: Any, settings: Any, postgres: Any
) -> None:
    id = await import_until_killed(settings, tenant.key)
    broken = await record_of(tenant, id)
    assert broken["finished_at"] is None
    assert 0 < broken["rows_read"] < GOOD + BAD

    resumed = await tenant.post(f"/v1/imports/{id}/resume")

    assert resumed.status_code == 202
    done = await ended(tenant, id)
    assert (done["status"], counts(done)) == ("done", (GOOD + BAD, GOOD, 0, 0, BAD))
    assert len((await bad_rows_of(tenant, id)).splitlines()) == BAD + 1
    with psycopg.connect(postgres.dsn(postgres.superuser)) as administrator:
        rows = "SELECT name FROM projects WHERE tenant_id = %s ORDER BY name"
        names = [name for (name,) in administrator.execute(rows, [tenant.tenant_id])]
        entries = "SELECT count(*), count(DISTINCT entity_id) FROM audit_log WHERE entity = %s"
        own = f"{entries} AND tenant_id = %s"
        logged = administrator.execute(own, ["projects", tenant.tenant_id]).fetchone()
    assert names == [f"Project {n:03}" for n in range(GOOD + BAD) if n % 20]
    assert logged == (GOOD, GOOD)
