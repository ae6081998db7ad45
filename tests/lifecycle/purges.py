"""What the tests of the purge share."""

import asyncio
from uuid import UUID

from saas.errors import PurgeRunning, Unavailable
from saas.tenancy.purge import purge


def id_of(tenant):
    return UUID(tenant.tenant_id)


async def purge_in_the_end(database, tenant):
    """Purge it, waiting for those who are at it, dead ones too that the server has not noticed."""
    while True:
        try:
            return await purge(database, id_of(tenant), actor="platform:ops")
        except (PurgeRunning, Unavailable):
            await asyncio.sleep(0.02)
