"""When a key was last used: written behind the requests, in batches."""

import asyncio
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID, uuid4

import msgspec
import pytest

from saas.app import create_app
from saas.db.database import Database
from saas.tenancy.key_uses import KeyUses


def id_of(key):
    return UUID(key.body["api_key"]["id"])


async def last_use(tenant, key):
    return (await tenant.get(f"/v1/api-keys/{id_of(key)}")).json()["last_used_at"]


async def changed_use(tenant, key, old):
    for _ in range(500):
        if (used := await last_use(tenant, key)) != old:
            return used
        await asyncio.sleep(0.02)
    raise AssertionError("no use is written")


@pytest.fixture
def node(settings, serve):
    """Another node of the installation, that writes every so many seconds."""

    @asynccontextmanager
    async def start(seconds):
        app = create_app(msgspec.structs.replace(settings, key_use_seconds=seconds))
        async with serve(app) as client:
            yield lambda caller: type(caller)(client, caller.key, caller.body)

    return start


@pytest.fixture
async def notes(settings):
    """The notes of a process with one connection, which is soon given up waiting for."""
    async with Database(
        str(settings.database_url), size=1, acquire_timeout_seconds=0.05
    ) as database:
        yield KeyUses(database.app, interval_seconds=3_600)


async def test_use_is_written_soon_and_each_new_one_again(tenant, new_key, node):
    key = await new_key(tenant)
    used = None

    async with node(0.02) as there:
        for _ in range(2):
            before = datetime.now(UTC)
            assert (await there(key).get("/v1/me")).status_code == 200
            used = await changed_use(tenant, key, used)
            assert before <= datetime.fromisoformat(used) <= datetime.now(UTC)

    listed = {row["id"]: row for row in (await tenant.get("/v1/api-keys")).json()["items"]}
    assert listed[str(id_of(key))]["last_used_at"] == used


async def test_what_is_noted_when_a_node_stops_is_written(tenant, new_key, node):
    key, refused = await new_key(tenant), await new_key(tenant)
    await tenant.delete(f"/v1/api-keys/{id_of(refused)}")

    async with node(3_600) as there:
        assert (await there(key).get("/v1/me")).status_code == 200
        assert (await there(refused).get("/v1/me")).status_code == 401
        assert await last_use(tenant, key) is None

    assert await last_use(tenant, key) is not None


async def test_a_tenants_keys_are_written_by_one_statement(
    tenant, new_key, notes, in_tenant, other_tenant
):
    keys = [await new_key(tenant) for _ in range(5)]
    for key in keys * 3:
        notes.note(UUID(tenant.tenant_id), id_of(key))
    notes.note(UUID(other_tenant.tenant_id), id_of(other_tenant))

    await notes.write()

    written = in_tenant(tenant, "SELECT id, xmin::text FROM api_key_uses")
    assert {id for id, _ in written} == {id_of(key) for key in keys}
    assert len({transaction for _, transaction in written}) == 1
    assert await last_use(other_tenant, other_tenant) is not None


async def test_what_cannot_be_written_now_is_kept(tenant, new_key, notes):
    key = await new_key(tenant)
    notes.note(UUID(tenant.tenant_id), id_of(key))

    busy = await notes._pool.acquire()
    await notes.write()
    assert await last_use(tenant, key) is None
    notes._pool.release(busy)
    await notes.write()

    assert await last_use(tenant, key) is not None


async def test_note_of_a_tenant_or_key_that_is_not_there_hinders_no_other(
    tenant, other_tenant, notes, in_tenant
):
    notes.note(uuid4(), uuid4())
    notes.note(UUID(tenant.tenant_id), uuid4())
    # A key of one tenant under the name of another.
    notes.note(UUID(tenant.tenant_id), id_of(other_tenant))
    notes.note(UUID(tenant.tenant_id), id_of(tenant))

    await notes.write()

    assert in_tenant(tenant, "SELECT id FROM api_key_uses") == [(id_of(tenant),)]
    assert in_tenant(other_tenant, "SELECT id FROM api_key_uses") == []


async def test_use_is_not_written_once_the_tenant_is_being_deleted(
    tenant, notes, operator, in_tenant
):
    path = f"/v1/admin/tenants/{tenant.tenant_id}"
    notes.note(UUID(tenant.tenant_id), id_of(tenant))

    assert (await operator.delete(path)).status_code == 202
    await notes.write()

    assert in_tenant(tenant, "SELECT id FROM api_key_uses") == []


async def test_node_that_is_late_takes_no_use_back(tenant, notes, monkeypatch):
    notes.note(UUID(tenant.tenant_id), id_of(tenant))
    await notes.write()
    newest = await last_use(tenant, tenant)

    earlier = time.time() - 60
    monkeypatch.setattr("saas.tenancy.key_uses.time.time", lambda: earlier)
    notes.note(UUID(tenant.tenant_id), id_of(tenant))
    await notes.write()

    assert await last_use(tenant, tenant) == newest


async def test_use_is_no_change_of_the_key(tenant, notes):
    before = (await tenant.get("/v1/audit")).json()["items"]
    notes.note(UUID(tenant.tenant_id), id_of(tenant))

    await notes.write()

    key = (await tenant.get(f"/v1/api-keys/{id_of(tenant)}")).json()
    assert key["last_used_at"] is not None
    assert key["version"] == 1
    assert (await tenant.get("/v1/audit")).json()["items"] == before
