"""A file on its way in: kept piece by piece as it comes, each in a transaction of its own, so that
what has been received is safe whatever becomes of the sender or of this process."""

import hashlib
from collections.abc import AsyncIterator
from typing import NamedTuple
from uuid import UUID

import msgspec

from saas.db.apart import apart
from saas.db.database import Database
from saas.db.imports import pieces, records
from saas.db.imports.pieces import PIECE_BYTES
from saas.db.imports.record import ImportOptions, ImportRecord
from saas.errors import Conflict, SaasError, TooLarge

Body = AsyncIterator[bytes]


class UploadIncomplete(Conflict):
    """Of the file of an import only the beginning is here."""

    code, title = "upload_incomplete", "Upload incomplete"

    def __init__(self, bytes_received: int) -> None:
        super().__init__(
            f"The file has not come to its end. Send what follows its first {bytes_received} "
            "bytes.",
            bytes_received=bytes_received,
        )


class UploadComplete(Conflict):
    """There is nothing left to send of the file of an import."""

    detail = "The whole file is here. Resume with an empty body."


class Upload(NamedTuple):
    """A file that is here as a whole. `digest` is the same for the same file sent for the same."""

    id: UUID
    worker: UUID
    digest: bytes


class Spool:
    """Keeps what comes of the file of one import, at most `most` bytes."""

    def __init__(self, database: Database, id: UUID, worker: UUID, *, most: int) -> None:
        self._database = database
        self._id = id
        self._worker = worker
        self._left = most
        self._buffer = bytearray()
        self._sha256 = hashlib.sha256()

    @property
    def sha256(self) -> bytes:
        """Of all that was taken in here."""
        return self._sha256.digest()

    async def fill(self, body: Body) -> None:
        """Take in the whole body; the sender waits while a piece is written. Raises TooLarge, and
        what `body` raises, once what came before is safe."""
        try:
            async for data in body:
                await self._take(data)
        except SaasError:
            # What has come stays: the rest can be sent later.
            await self._flush()
            raise
        await self._flush()

    async def _take(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            raise TooLarge
        self._sha256.update(data)
        self._buffer += data
        while len(self._buffer) >= PIECE_BYTES:
            piece = bytes(self._buffer[:PIECE_BYTES])
            del self._buffer[:PIECE_BYTES]
            await self._keep(piece)

    async def _flush(self) -> None:
        if self._buffer:
            piece = bytes(self._buffer)
            self._buffer.clear()
            await self._keep(piece)

    async def _keep(self, piece: bytes) -> None:
        async with apart(self._database):
            await pieces.append(self._id, self._worker, piece)


async def read_head(body: Body) -> tuple[bytes, bool]:
    """The beginning of a body, at least a piece of it, and whether that is all."""
    head = bytearray()
    async for data in body:
        head += data
        if len(head) >= PIECE_BYTES:
            return bytes(head), False
    return bytes(head), True


async def put_back(head: bytes, body: Body) -> Body:
    """The body from its beginning."""
    yield head
    async for data in body:
        yield data


def rest_of(record: ImportRecord, body: Body, length: int | None) -> Body:
    """What of `body` is not here yet. A length tells the rest of a file from the whole of it. Any
    other raises Conflict."""
    whole, here = record.bytes_expected, record.bytes_received
    if whole is None or length == whole - here:
        return body
    if length == whole:
        return _skipping(body, here)
    raise Conflict(
        f"{here} of {whole} bytes are here. Send the other {whole - here}, or the whole file, "
        "with its Content-Length."
    )


async def _skipping(body: Body, size: int) -> Body:
    """The body without its first `size` bytes."""
    async for data in body:
        passed = min(size, len(data))
        size -= passed
        if passed < len(data):
            yield data[passed:]


def digest_of(options: ImportOptions, sha256: bytes) -> bytes:
    """Of a file and of what it is sent for."""
    return hashlib.sha256(msgspec.msgpack.encode(options) + sha256).digest()


async def discard(database: Database, upload: Upload) -> None:
    """Forget a file that is not wanted after all."""
    async with apart(database):
        await records.drop(upload.id)


async def leave(database: Database, upload: Upload) -> None:
    """Keep a file whose rest has come by a request that was refused."""
    async with apart(database):
        await records.change(
            upload.id, upload.worker, status="interrupted", detail=UploadComplete.detail
        )
