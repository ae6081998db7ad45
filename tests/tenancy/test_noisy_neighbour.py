"""One tenant's flood is its own: over HTTP, with statements that stand still in the database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import msgspec
import psycopg
import pytest

from saas.app import create_app
from saas.settings import Settings

FLOOD = 6


@asynccontextmanager
async def flooded(caller, other, serve, settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """An app where `caller` has sent more changes of a row than the pool has connections, and
    somebody else holds that row."""
    row = await caller.create("projects", name="Held")
    own = {"Authorization": f"Bearer {caller.key}"}
    async with serve(create_app(settings)) as http:
        # Known from now on, as callers are that have been here a moment ago.
        for one in (caller, other):
            await http.get("/v1/projects", headers={"Authorization": f"Bearer {one.key}"})
        with psycopg.connect(str(settings.database_url)) as holder:
            holder.execute(f"SET LOCAL app.tenant_id = '{caller.tenant_id}'")
            holder.execute("SELECT 1 FROM projects WHERE id = %s FOR UPDATE", [row["id"]])
            path = f"/v1/projects/{row['id']}"
            tasks = [
                asyncio.create_task(http.patch(path, json={"budget_cents": n}, headers=own))
                for n in range(FLOOD)
            ]
            await asyncio.sleep(0.2)
            yield http
            holder.rollback()
        await asyncio.gather(*tasks)


def bounded(settings: Settings, connections: int) -> Settings:
    return msgspec.structs.replace(
        settings, pool_size=3, tenant_connections=connections, pool_timeout_seconds=0.5
    )


async def test_a_flood_takes_no_more_than_its_tenants_share(
    tenant, other_tenant, serve, settings
) -> None:
    calm = {"Authorization": f"Bearer {other_tenant.key}"}

    async with flooded(tenant, other_tenant, serve, bounded(settings, 2)) as http:
        served = await http.get("/v1/projects", headers=calm)
        written = await http.post("/v1/projects", json={"name": "Calm"}, headers=calm)
    async with flooded(other_tenant, tenant, serve, bounded(settings, 3)) as http:
        refused = await http.get("/v1/projects", headers={"Authorization": f"Bearer {tenant.key}"})

    assert (served.status_code, written.status_code) == (200, 201)
    # The control: without the share there is nothing left.
    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")


async def test_a_flood_is_told_that_it_is_one(tenant, other_tenant, serve, settings) -> None:
    async with flooded(tenant, other_tenant, serve, bounded(settings, 2)) as http:
        own = {"Authorization": f"Bearer {tenant.key}"}
        refused = await http.get("/v1/projects", headers=own)

    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_at_once")
    assert refused.headers["retry-after"] == "1"


@pytest.mark.parametrize("share", [1, 2])
async def test_credentials_are_looked_up_while_their_tenant_holds_its_share(
    tenant, other_tenant, serve, settings, share
) -> None:
    # Well-formed and wrong, and it names the tenant that floods.
    invented = tenant.key[:-1] + ("A" if tenant.key[-1] != "A" else "B")

    async with flooded(tenant, other_tenant, serve, bounded(settings, share)) as http:
        answer = await http.get("/v1/projects", headers={"Authorization": f"Bearer {invented}"})

    assert answer.status_code == 401
