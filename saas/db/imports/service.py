"""Imports from their first byte to their end: received, begun once, resumed. For the HTTP routes
and for commands alike."""

from collections.abc import Awaitable, Callable, Mapping
from uuid import UUID, uuid4

import msgspec

from saas import context
from saas.db.apart import apart
from saas.db.batch_items import OnConflict
from saas.db.bulk_target import BulkTarget
from saas.db.database import Database
from saas.db.imports import pieces, records, room
from saas.db.imports.head import SourceWish, settled
from saas.db.imports.record import ImportOptions, ImportRecord
from saas.db.imports.tables import Import, ImportRead, Mode
from saas.db.imports.upload import (
    Body,
    Spool,
    Upload,
    UploadComplete,
    UploadIncomplete,
    digest_of,
    put_back,
    read_head,
    rest_of,
)
from saas.db.imports.workers import ImportWorkers
from saas.db.repository import TenantRepository
from saas.db.transaction import current_transaction
from saas.errors import Conflict, Invalid, NotFound, SaasError, TooLarge

imports: TenantRepository[Import, ImportRead] = TenantRepository(Import, ImportRead)


class ImportWish(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of an import. `again` is for a file that was sent for the same before."""

    resource: str
    source: SourceWish
    on_conflict: OnConflict = "error"
    mode: Mode = "partial"
    dry_run: bool = False
    again: bool = False


class ImportService:
    """`targets` are what rows can be imported into, by name. `max_bytes` is the largest file,
    unless the tenant's own limit is smaller. `check` raises where a tenant may not go on."""

    def __init__(
        self,
        database: Database,
        targets: Mapping[str, BulkTarget],
        *,
        max_bytes: int,
        check: Callable[[], Awaitable[object]],
    ) -> None:
        self.database = database
        self.workers = ImportWorkers(database, check)
        self._targets = targets
        self._max_bytes = max_bytes

    async def receive(self, wish: ImportWish, body: Body, *, length: int | None) -> Upload:
        """Take in a file, of `length` bytes if that is known, in transactions of its own. Raises
        TooLarge, TooManyFiles, Invalid and UnsupportedMediaType for a file that cannot be read;
        nothing is kept of these. What comes before a break is, for `receive_rest`."""
        target = self.target(wish.resource)
        if wish.on_conflict != "error" and not target.rows.natural_key:
            raise Invalid("This resource has no natural key, so on_conflict can only be error.")
        most = self._most_bytes()
        if length is not None and length > most:
            raise _too_large(most)
        head, is_all = await read_head(body)
        options = ImportOptions(
            resource=wish.resource,
            source=settled(wish.source, target, head, is_all=is_all),
            on_conflict=wish.on_conflict,
            mode=wish.mode,
            dry_run=wish.dry_run,
        )
        worker = uuid4()
        async with apart(self.database):
            await room.hold()
            await room.require(length, most=most)
            id = await records.begin(options, worker, bytes_expected=length, again=wish.again)
        spool = Spool(self.database, id, worker, most=most)
        await self._fill(spool, id, worker, put_back(head, body))
        return Upload(id, worker, digest_of(options, spool.sha256))

    async def receive_rest(self, id: UUID, body: Body, *, length: int | None) -> Upload:
        """Take in what is missing of a file whose upload broke off: the rest, or the whole file
        again if its length says so. Raises Conflict for any other, UploadComplete and
        TooManyFiles."""
        worker = uuid4()
        most = self._most_bytes()
        async with apart(self.database):
            await room.hold()
            record = await records.load(id)
            if record.is_received:
                raise UploadComplete
            rest = rest_of(record, body, length)
            await room.require(record.bytes_expected, most=most, besides=id)
            await records.change(id, record.worker, worker=worker, status="receiving")
        spool = Spool(self.database, id, worker, most=most - record.bytes_received)
        await self._fill(spool, id, worker, rest)
        async with apart(self.database):
            record = await records.load(id)
            # From here on it needs no more, whatever becomes of this request.
            if not await records.change(id, worker, bytes_expected=record.bytes_received):
                raise Conflict("Another request goes on with this import.")
            return await self._received(record)

    async def begin(self, upload: Upload) -> ImportRead:
        """Let the work begin once the current transaction is committed, and tell how it stands.
        A file that was sent for the same before is the import of that time, unless `again`."""
        record = await records.load(upload.id)
        # A trial stores nothing, and what it tells depends on the rows of today.
        if not (record.is_again or record.dry_run):
            same = await records.same_as(upload.digest)
            if same is not None:
                await records.drop(upload.id)
                return await self._go_on(await records.load(same))
        await records.change(
            upload.id, upload.worker, status="running", digest=upload.digest, detail=None
        )
        self._start(upload.id, upload.worker, record.resource)
        return await imports.get(upload.id)

    async def resume(self, id: UUID) -> ImportRead:
        """Take the import up after its last whole piece once the current transaction is committed,
        from whoever was at it. One that has ended well, or is at work here, stays as it is. Raises
        NotFound, UploadIncomplete, and Conflict for one that has failed."""
        record = await records.load(id)
        if record.status == "failed":
            raise Conflict("This import has failed. Correct the file and send it again.")
        if record.is_received:
            return await self._go_on(record)
        if record.bytes_received != record.bytes_expected:
            raise UploadIncomplete(record.bytes_received)
        # Whoever still sends it notices at the next piece.
        worker = uuid4()
        await records.change(id, record.worker, worker=worker, status="receiving")
        taken = msgspec.structs.replace(record, worker=worker)
        return await self.begin(await self._received(taken))

    async def _go_on(self, record: ImportRecord) -> ImportRead:
        if record.status != "done" and not self.workers.is_at_work(record.worker):
            worker = uuid4()
            await records.change(
                record.id, record.worker, worker=worker, status="running", detail=None
            )
            self._start(record.id, worker, record.resource)
        return await imports.get(record.id)

    def _start(self, id: UUID, worker: UUID, resource: str) -> None:
        target = self.target(resource)
        current_transaction().on_commit(lambda: self.workers.start(id, worker, target))

    def target(self, resource: str) -> BulkTarget:
        """Raises NotFound for a resource that is not served here."""
        target = self._targets.get(resource)
        if target is None:
            raise NotFound
        return target

    async def _fill(self, spool: Spool, id: UUID, worker: UUID, body: Body) -> None:
        try:
            with self.workers.busy(worker):
                await spool.fill(body)
        except TooLarge:
            async with apart(self.database):
                await records.drop(id)
            raise _too_large(self._most_bytes()) from None
        except SaasError as broken:
            async with apart(self.database):
                await records.change(id, worker, status="interrupted", detail=broken.message)
            raise

    async def _received(self, record: ImportRecord) -> Upload:
        """The file as it is here, from its beginning."""
        sha256 = await pieces.digest_of(record.id, record.chunks)
        return Upload(record.id, record.worker, digest_of(record.asked, sha256))

    def _most_bytes(self) -> int:
        own = context.principal().limits.import_bytes
        return self._max_bytes if own is None else min(own, self._max_bytes)


def _too_large(most: int) -> TooLarge:
    return TooLarge(f"A file to import may have {most} bytes and no more.")
