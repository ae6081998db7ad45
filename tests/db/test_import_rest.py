"""An import goes slowly beside the requests of other tenants, and as fast as it can alone."""

from uuid import uuid4

from saas.context import Principal, acting_as
from saas.db.database import Database
from saas.db.imports import piece
from saas.db.transaction import transaction
from saas.settings import Settings


async def test_an_import_gives_way_while_another_tenant_is_at_work(settings: Settings) -> None:
    one, other = (Principal(tenant_id=uuid4(), actor="system:test") for _ in range(2))

    async with Database(str(settings.database_url)) as database:

        async def pace_of(principal: Principal) -> piece._Pace:
            with acting_as(principal):
                async with transaction(database) as work:
                    await work.fetch("SELECT 1")
                    return piece._pace()

        alone = await pace_of(one)
        beside = await pace_of(other)

    assert alone.rest == 0
    assert beside.rest > 1
    assert beside.rows_at_once < alone.rows_at_once
