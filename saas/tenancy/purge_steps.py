"""How a purge starts and ends, and under which bindings and locks each of its steps runs."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from uuid import UUID

from saas import context
from saas.context import Principal
from saas.db.audit import AuditLog
from saas.db.database import Database
from saas.db.idempotency import try_lock
from saas.db.pool import Pool
from saas.db.purge_statements import OLDER_TRANSACTIONS, PURGE_ROWS
from saas.db.transaction import Transaction
from saas.errors import PurgeRunning, Unavailable
from saas.tenancy import purge_records as records
from saas.tenancy.deletion import Certificate, certificate_of
from saas.tenancy.purge_proof import refuse_leftovers, refuse_undeclared, rows_held
from saas.usage.forgetting import forget

_LOG, _MOST = AuditLog.__tablename__, 10_000


class PurgeSteps:
    """The steps of one tenant's purge. Only one process is in any of them at a time."""

    def __init__(self, database: Database, tenant_id: UUID, actor: str) -> None:
        self.tenant_id = tenant_id
        self._database = database
        # Counting a large table takes as long as it takes.
        self._principal = Principal(tenant_id=tenant_id, actor=actor, statement_timeout_ms=0)
        digest = hashlib.sha256(b"purge" + tenant_id.bytes).digest()
        self._lock = int.from_bytes(digest[:8], "big", signed=True)

    def as_app(self) -> AbstractAsyncContextManager[Transaction]:
        """A step on the app's connection. Raises PurgeRunning."""
        return self._step(self._database.app)

    def as_platform(self) -> AbstractAsyncContextManager[Transaction]:
        """A step on the platform's connection. Raises PurgeRunning."""
        return self._step(self._database.platform)

    async def start(self) -> Certificate | None:
        """Count all rows and mark the beginning. The certificate where the purge has ended already.
        Raises as `purge` does."""
        async with self.as_platform() as work:
            purged = await records.locked(self.tenant_id)
            if purged is None:
                return await certificate_of(self.tenant_id)
            # Before the rows are counted: such a transaction may still add some.
            await _refuse_older(work, purged.purge_at)
            async with Transaction(self._database.app, read_only=True) as seen_by_app:
                await _refuse_older(seen_by_app, purged.purge_at)
            if purged.deletion.started_at is None:
                await records.start(self.tenant_id)
                held = await rows_held(work)
                refuse_undeclared(held)
                await records.keep_counts(self.tenant_id, held)
        return None

    async def finish(self) -> Certificate:
        """Make the tenant's row a tombstone, prove that nothing else is left, and issue the
        certificate: all three or none. Raises PurgeIncomplete."""
        async with self.as_platform() as work:
            purged = await records.locked(self.tenant_id)
            if purged is None:
                return await certificate_of(self.tenant_id)
            await records.bury(self.tenant_id, self._principal.actor)
            # The tombstone too was logged, with the name that the tenant had.
            while (await work.fetch(PURGE_ROWS, [_LOG, _MOST]))[0]["gone"]:
                pass
            await forget(self.tenant_id)
            left = await rows_held(work)
            refuse_leftovers(left)
            return await records.issue(self.tenant_id, purged, left)

    @asynccontextmanager
    async def _step(self, pool: Pool) -> AsyncIterator[Transaction]:
        with context.acting_as(self._principal):
            async with Transaction(pool) as work:
                if not await try_lock(self._lock):
                    raise PurgeRunning
                yield work
                await work.commit()


async def _refuse_older(work: Transaction, purge_at: datetime) -> None:
    """Raise Unavailable while a transaction may be writing that began in the grace period."""
    rows = await work.fetch(OLDER_TRANSACTIONS, [purge_at])
    if still_running := rows[0]["still_running"]:
        raise Unavailable(
            f"{still_running} transactions that began in the grace period are still running; the "
            "purge waits for their end.",
            retry_after_seconds=5,
        )
