"""The imports that this process works on: of each tenant one, and two at a time, which change after
each piece: nobody's waits for the end of another's that is long."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import Context
from uuid import UUID
from weakref import WeakValueDictionary

import structlog

from saas import context
from saas.background import in_background
from saas.context import Principal, RequestOrigin, acting_as
from saas.db.apart import apart
from saas.db.bulk_target import BulkTarget
from saas.db.database import Database
from saas.db.error_mapping import FAILURES
from saas.db.imports import records
from saas.db.imports.job import ImportJob
from saas.db.imports.run import work
from saas.db.imports.tables import SILENT_SECONDS
from saas.errors import SaasError

_MOST_AT_ONCE = 2
_BEAT_SECONDS = SILENT_SECONDS / 4
_STOPPED = "The server was stopped. Resume the import."
_FAULT = "A fault of the server stopped it. Resume the import, or quote its id."


class ImportWorkers:
    """Runs each import as a task of its own, acting as whoever has set it going."""

    def __init__(self, database: Database, check: Callable[[], Awaitable[object]]) -> None:
        self._database = database
        self._check = check
        # By worker: an import that was taken up elsewhere and came back has another one.
        self._tenants: dict[UUID, UUID] = {}
        self._tasks: dict[UUID, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(_MOST_AT_ONCE)
        self._turns: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()

    def start(self, id: UUID, worker: UUID, target: BulkTarget) -> None:
        """Work on the import, which is committed, as whoever acts now."""
        job = ImportJob(self._database, target, id, worker, self._check, lambda _: None)
        run = self._run(job, context.principal(), context.origin())
        # An empty context: the request's own transaction must not be current in it.
        task = asyncio.create_task(run, context=Context())
        self._tasks[worker] = task
        task.add_done_callback(lambda _: self._tasks.pop(worker, None))

    def is_at_work(self, worker: UUID) -> bool:
        return worker in self._tasks

    @contextmanager
    def busy(self, worker: UUID) -> Iterator[None]:
        """Let everybody know that the import of `worker` does not stand still."""
        self._tenants[worker] = context.principal().tenant_id
        try:
            yield
        finally:
            del self._tenants[worker]

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """At the end imports stop after their last whole piece, to be resumed."""
        async with in_background(self._beat()):
            try:
                yield
            finally:
                tasks = [*self._tasks.values()]
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, job: ImportJob, principal: Principal, origin: RequestOrigin) -> None:
        turn = self._turns.setdefault(principal.tenant_id, asyncio.Lock())
        with acting_as(principal, origin), self.busy(job.worker):
            try:
                async with turn:
                    await work(job, self._slots)
            except asyncio.CancelledError:
                await self._interrupt(job, _STOPPED)
                raise
            except SaasError as refusal:
                await self._interrupt(job, refusal.message)
            except Exception as error:
                structlog.get_logger().error("import_failed", exc_info=error, import_id=str(job.id))
                await self._interrupt(job, _FAULT)

    async def _interrupt(self, job: ImportJob, detail: str) -> None:
        # Where it fails, silence tells the same.
        with suppress(SaasError, *FAILURES):
            async with apart(self._database):
                await records.change(job.id, job.worker, status="interrupted", detail=detail)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(_BEAT_SECONDS)
            of_tenant: defaultdict[UUID, list[UUID]] = defaultdict(list)
            for worker, tenant_id in self._tenants.items():
                of_tenant[tenant_id].append(worker)
            for tenant_id, workers in of_tenant.items():
                with suppress(SaasError, *FAILURES):
                    await self._beat_for(tenant_id, workers)

    async def _beat_for(self, tenant_id: UUID, workers: list[UUID]) -> None:
        heart = context.tenant_principal(tenant_id, job="imports")
        with acting_as(heart):
            async with apart(self._database):
                await records.beat(workers)
