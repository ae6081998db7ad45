"""The task that purges tenants when their grace period is over, in each process that serves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import structlog
from sqlalchemy import func, select

from saas.background import in_background
from saas.db.database import Database
from saas.db.models import table_of
from saas.db.statements import Statement
from saas.db.transaction import platform_transaction
from saas.errors import PurgeRunning
from saas.tenancy.models import Tenant
from saas.tenancy.purge import purge

ACTOR = "system:purge"


@asynccontextmanager
async def purging(database: Database, interval_seconds: int) -> AsyncIterator[None]:
    """Purge what is due, now and every `interval_seconds` inside the block; 0 does nothing."""
    if not interval_seconds:
        yield
        return
    async with in_background(_purge_for_ever(database, interval_seconds)):
        yield


async def purge_due(database: Database) -> list[UUID]:
    """Purge every tenant whose grace period is over, one after the other; those that are done. One
    that another process is at is left to it, one that fails is logged and comes again."""
    async with platform_transaction(database) as work:
        due = [row["id"] for row in await work.run(_DUE, {})]
    done = []
    for tenant_id in due:
        try:
            certificate = await purge(database, tenant_id, actor=ACTOR)
        except PurgeRunning:
            continue
        except Exception as error:  # Whatever is wrong with one must not keep the others.
            _log.error("purge_failed", purged=str(tenant_id), exc_info=error)
        else:
            _log.info("tenant_purged", purged=str(tenant_id), digest=certificate.digest)
            done.append(tenant_id)
    return done


async def _purge_for_ever(database: Database, interval_seconds: int) -> None:
    while True:
        try:
            await purge_due(database)
        except Exception as error:  # The database may be away; it comes back.
            _log.error("purge_failed", exc_info=error)
        await asyncio.sleep(interval_seconds)


_log = structlog.get_logger()
_tenants = table_of(Tenant)
_DUE = Statement(
    select(_tenants.c.id)
    .where(_tenants.c.status == "deleting", _tenants.c.purge_at <= func.now())
    .order_by(_tenants.c.purge_at, _tenants.c.id)
)
