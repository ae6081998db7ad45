"""When each API key was last used: noted in memory, written in batches.

A process writes every few seconds, one statement for each tenant whose keys were used, and once
more when it stops; killed, it loses what it has noted since. Nothing else hangs on it: where the
database is away, requests go on and the notes are kept.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import ARRAY, DateTime, Executable, Uuid, bindparam, column, func, or_, select
from sqlalchemy.dialects.postgresql import insert

from saas.background import in_background
from saas.context import Principal, acting_as
from saas.db.error_mapping import FAILURES
from saas.db.models import table_of
from saas.db.pool import Pool
from saas.db.statements import Statement, tenant_predicate
from saas.db.transaction import Transaction
from saas.errors import SaasError, Unavailable
from saas.tenancy.lifecycle_statements import OPEN
from saas.tenancy.models import ApiKeyRow, ApiKeyUse, Tenant

_STOP_SECONDS = 5
_keys, _uses, _tenants = table_of(ApiKeyRow), table_of(ApiKeyUse), table_of(Tenant)
# The Unix time of the last use, by key.
Times = dict[UUID, float]


class KeyUses:
    """The notes of one process."""

    def __init__(self, pool: Pool, *, interval_seconds: float) -> None:
        self._pool = pool
        self._interval_seconds = interval_seconds
        self._noted: dict[UUID, Times] = {}

    def note(self, tenant_id: UUID, key_id: UUID) -> None:
        """On the path of every request: two dictionaries and the clock."""
        self._noted.setdefault(tenant_id, {})[key_id] = time.time()

    @asynccontextmanager
    async def written(self) -> AsyncIterator[None]:
        """Write inside the block, and what is left at its end."""
        try:
            async with in_background(self._write_for_ever()):
                yield
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(_STOP_SECONDS):
                    await self.write()

    async def write(self) -> None:
        """Write what is noted. What cannot be written now is kept for the next time."""
        for tenant_id in list(self._noted):
            times = self._noted.pop(tenant_id)
            try:
                await self._write(tenant_id, times)
            except (SaasError, *FAILURES) as error:
                self._keep(tenant_id, times)
                structlog.get_logger().warning("key_uses_not_written", error=type(error).__name__)
                if isinstance(error, Unavailable):
                    # It would be the same for the next tenant, after the same wait.
                    return
            except BaseException:
                self._keep(tenant_id, times)
                raise

    async def _write_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._interval_seconds)
            await self.write()

    async def _write(self, tenant_id: UUID, times: Times) -> None:
        values: dict[str, Any] = {
            "tenant_id": tenant_id,
            "ids": list(times),
            "times": [datetime.fromtimestamp(seconds, UTC) for seconds in times.values()],
        }
        with acting_as(Principal(tenant_id=tenant_id, actor="system:key-uses")):
            async with Transaction(self._pool) as work:
                await work.run(_WRITE, values)
                await work.commit()

    def _keep(self, tenant_id: UUID, times: Times) -> None:
        # What was noted since is newer.
        self._noted[tenant_id] = times | self._noted.get(tenant_id, {})


def _write() -> Executable:
    ids = bindparam("ids", type_=ARRAY(Uuid()))
    times = bindparam("times", type_=ARRAY(DateTime(timezone=True)))
    given = func.unnest(ids, times).table_valued(
        column("id", Uuid()), column("at", DateTime(timezone=True))
    )
    given = given.render_derived(name="given")
    # Only of keys that there are, and not while the tenant is deleted: one that is purged must not
    # get a row back. In the order of the keys, so that two processes do not wait for each other in
    # a circle.
    used = (
        select(_keys.c.tenant_id, _keys.c.id, given.c.at)
        .join_from(given, _keys, _keys.c.id == given.c.id)
        .join(_tenants, _tenants.c.id == _keys.c.tenant_id)
        .where(tenant_predicate(_keys), or_(*(_tenants.c.status == status for status in OPEN)))
        .order_by(_keys.c.id)
    )
    written = insert(_uses).from_select(["tenant_id", "id", "last_used_at"], used)
    last = func.greatest(_uses.c.last_used_at, written.excluded.last_used_at)
    return written.on_conflict_do_update(
        index_elements=[_uses.c.tenant_id, _uses.c.id], set_={"last_used_at": last}
    )


_WRITE = Statement(_write())
