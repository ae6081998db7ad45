"""A local file through the engine of the imports: sent, or gone on with, and followed."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from typing import BinaryIO, NamedTuple
from uuid import UUID

from saas.db.bulk_target import BulkTarget
from saas.db.database import Database
from saas.db.imports import pieces, records
from saas.db.imports.bad_rows import bad_rows_csv
from saas.db.imports.record import ImportRecord
from saas.db.imports.service import ImportService, ImportWish, imports
from saas.db.imports.tables import ImportRead
from saas.db.imports.upload import digest_of
from saas.db.transaction import transaction
from saas.db.where import where
from saas.errors import ConfigurationError

_READ_BYTES = 256 * 1024
_POLL_SECONDS = 0.1
_RUNNING = frozenset({"receiving", "running"})

Tell = Callable[[ImportRead, ImportRecord], object]


class LocalFile(NamedTuple):
    """An open file and its size; None for one that cannot be read twice. `tell` is told how much of
    it has been sent."""

    file: BinaryIO
    size: int | None
    tell: Callable[[int], object]


class Begun(NamedTuple):
    """`is_new` is False where the same file was sent for the same before."""

    id: UUID
    is_new: bool


async def send(service: ImportService, wish: ImportWish, file: LocalFile) -> Begun:
    """Take the file in, and let the work begin."""
    upload = await service.receive(wish, _body(file), length=file.size)
    async with transaction(service.database):
        id = (await service.begin(upload)).id
    return Begun(id, id == upload.id)


async def go_on(service: ImportService, resource: str, file: LocalFile) -> Begun:
    """Take up the latest import of this file, unless it is done; of a file that was not received
    whole, the rest is sent. Raises ConfigurationError where there is none."""
    async with transaction(service.database):
        found = await _latest(resource, file)
        if found.digest is not None:
            await service.resume(found.id)
            return Begun(found.id, is_new=found.status != "done")
    upload = await service.receive_rest(found.id, _body(file), length=file.size)
    async with transaction(service.database):
        return Begun((await service.begin(upload)).id, is_new=True)


async def followed(database: Database, id: UUID, tell: Tell) -> ImportRead:
    """Wait until the import has ended or stands still. `tell` is told how it is meanwhile."""
    while True:
        async with transaction(database, read_only=True):
            read, record = await imports.get(id), await records.peek(id)
        tell(read, record)
        if read.status not in _RUNNING:
            return read
        await asyncio.sleep(_POLL_SECONDS)


async def bad_rows(
    database: Database, id: UUID, target: BulkTarget, write: Callable[[bytes], object]
) -> None:
    """Write the refused rows, with the reason of each."""
    async with transaction(database, read_only=True):
        async for piece in bad_rows_csv(await records.peek(id), target):
            write(piece)


async def _latest(resource: str, file: LocalFile) -> ImportRecord:
    latest = await imports.list(where(resource=resource, sort="-started_at", limit=100))
    for read in latest.items:
        if read.status != "failed" and not read.dry_run:
            record = await records.peek(read.id)
            if await _is_of(record, file):
                return record
    raise ConfigurationError(f"there is no import of this file into {resource} to go on with")


async def _is_of(record: ImportRecord, file: LocalFile) -> bool:
    """Whether it is this very file; of one that was not received whole, as far as it was."""
    if record.digest is not None:
        return record.digest == digest_of(record.asked, await _sha256(file, file.size or 0))
    if record.bytes_expected != file.size:
        return False
    here = await pieces.digest_of(record.id, record.chunks)
    return here == await _sha256(file, record.bytes_received)


async def _sha256(file: LocalFile, size: int) -> bytes:
    """Of the first `size` bytes."""

    def digest() -> bytes:
        found = hashlib.sha256()
        left = size
        file.file.seek(0)
        while data := file.file.read(min(_READ_BYTES, left)):
            found.update(data)
            left -= len(data)
        return found.digest()

    return await asyncio.to_thread(digest)


async def _body(file: LocalFile) -> AsyncIterator[bytes]:
    if file.size is not None:
        file.file.seek(0)
    sent = 0
    while data := await asyncio.to_thread(file.file.read, _READ_BYTES):
        yield data
        sent += len(data)
        file.tell(sent)
