"""A tenant has exactly as many active members as its limits allow."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest
from psycopg.types.json import Jsonb

from saas.app import create_app
from saas.context import Principal, acting_as
from saas.db.database import Database
from saas.db.repository import TenantRepository
from saas.db.transaction import transaction
from saas.errors import QuotaExceeded
from saas.limits import LimitOverrides, Limits, limits_of, stored
from saas.tenancy.member_quota import reserve_member
from saas.tenancy.models import Member


class MemberRead(msgspec.Struct):
    id: UUID
    version: int
    deleted_at: object
    status: str


members = TenantRepository(Member, MemberRead)


@pytest.fixture
async def database(settings) -> AsyncIterator[Database]:
    async with Database(str(settings.database_url), size=8) as database:
        yield database


@pytest.fixture
def override(postgres, settings):
    """Gives a tenant limits of its own, as an operator does."""

    def run(tenant, **limits):
        values = Jsonb(stored(LimitOverrides(**limits)))
        with psycopg.connect(postgres.dsn(postgres.superuser, "saas")) as connection:
            # As a replica, so that the audit trigger does not ask for a bound tenant.
            connection.execute("SET session_replication_role = replica")
            change = "UPDATE tenants SET limit_overrides = %s WHERE id = %s"
            assert connection.execute(change, [values, tenant.tenant_id]).rowcount == 1

    return run


def operator_in(tenant) -> Principal:
    """Without the limits of the tenant, as whoever accepts an invitation is, too."""
    return Principal(tenant_id=UUID(tenant.tenant_id), actor="platform:test")


async def add(database, tenant, **values) -> UUID:
    person = {"email": f"{uuid4()}@x.test", "name": "M", "role": "member"}
    with acting_as(operator_in(tenant)):
        async with transaction(database):
            await reserve_member()
            row = await members.create(person | values)
    return row.id


async def test_many_who_join_at_once_fill_the_quota_to_the_member(on_plan, tenant, database):
    limited = await on_plan(members=4)

    joined = await asyncio.gather(
        *(add(database, limited) for _ in range(20)), return_exceptions=True
    )
    await asyncio.gather(*(add(database, tenant) for _ in range(6)))

    refused = [one for one in joined if isinstance(one, QuotaExceeded)]
    # The first owner is one of the four.
    assert (len(joined) - len(refused), len(refused)) == (3, 17)
    assert refused[0].extra == {"limit": "members", "value": 4}
    assert "4 active members" in refused[0].message


async def test_who_has_left_or_is_suspended_makes_room(on_plan, database):
    tenant = await on_plan(members=2)
    second = await add(database, tenant)
    with pytest.raises(QuotaExceeded):
        await add(database, tenant)

    async def change(id, status):
        with acting_as(operator_in(tenant)):
            async with transaction(database):
                if status == "active":
                    await reserve_member()
                await members.update(id, {"status": status})

    await change(second, "suspended")
    third = await add(database, tenant)
    with pytest.raises(QuotaExceeded):
        await change(second, "active")
    with acting_as(operator_in(tenant)):
        async with transaction(database):
            await members.delete(third)
    await change(second, "active")


async def test_own_limits_of_a_tenant_go_before_its_plans(on_plan, database, override):
    tenant = await on_plan(members=1)
    with pytest.raises(QuotaExceeded):
        await add(database, tenant)

    override(tenant, members=2)
    await add(database, tenant)
    with pytest.raises(QuotaExceeded):
        await add(database, tenant)
    override(tenant, members=None)
    await add(database, tenant)


async def test_own_limits_come_with_the_credential(on_plan, override, serve, settings):
    tenant = await on_plan(rows=1)
    override(tenant, rows=2)
    unremembering = msgspec.structs.replace(settings, principal_cache_seconds=0)

    async with serve(create_app(unremembering)) as http:
        caller = type(tenant)(http, tenant.key, tenant.body)

        async def tries(name):
            return (await caller.post("/v1/projects", {"name": name})).status_code

        assert [await tries(f"P{number}") for number in range(3)] == [201, 201, 429]
        override(tenant, rows=None)
        assert [await tries(f"Q{number}") for number in range(3)] == [201, 201, 201]
        override(tenant)
        assert await tries("R1") == 429


def test_stored_limits_are_read_as_they_were_meant():
    plan = {"rows": 5, "members": 6, "of a later version": "x"}

    assert limits_of(plan, None) == Limits(rows=5, members=6)
    assert limits_of(plan, {"rows": None}) == Limits(members=6)
    assert limits_of(plan, stored(LimitOverrides(rows=7, import_bytes=8))) == Limits(
        rows=7, members=6, import_bytes=8
    )
    assert stored(LimitOverrides(rows=None)) == {"rows": None}
    with pytest.raises(msgspec.ValidationError):
        limits_of({"rows": 0}, None)
