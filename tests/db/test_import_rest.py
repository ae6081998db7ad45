"""An import gives way to the other tenants, and to nobody where there is none."""

import asyncio
from uuid import uuid4

import pytest

from saas.context import Principal, acting_as
from saas.db.database import Database
from saas.db.imports import piece
from saas.db.transaction import transaction
from saas.settings import Settings


async def test_an_import_rests_while_another_tenant_is_at_work(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(piece, "_LONGEST_REST_SECONDS", 60)
    one, other = (Principal(tenant_id=uuid4(), actor="system:test") for _ in range(2))

    async with Database(str(settings.database_url)) as database:

        async def rest(within_seconds: float) -> None:
            with acting_as(one):
                async with transaction(database), asyncio.timeout(within_seconds):
                    await piece._rest(60)

        await rest(within_seconds=30)
        with acting_as(other):
            async with transaction(database) as work:
                await work.fetch("SELECT 1")
        with pytest.raises(TimeoutError):
            await rest(within_seconds=0.1)
