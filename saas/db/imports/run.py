"""An import at work, piece by piece: each is a transaction that has its rows, its errors, how far
the import is, and the end of the piece. A process may be killed at any moment; the next one goes on
at the piece that was not committed, so that no row goes in twice and none is left out."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TypeVar

import msgspec

from saas.db.bulk_results import ImportResult
from saas.db.imports import errors, pieces, records
from saas.db.imports.job import ImportJob, claim, give_up
from saas.db.imports.piece import reader_for, write_piece
from saas.db.imports.record import ImportRecord
from saas.db.imports.whole import write_whole
from saas.db.transaction import transaction
from saas.errors import TooManyAtOnce, Unavailable

Result = TypeVar("Result")

_PAUSES_SECONDS = (0.1, 0.5, 2, 5)


# Entered for each step, and left after it: an `asyncio.Semaphore` serves in turn.
Slot = AbstractAsyncContextManager[object]
_NO_SLOT: Slot = nullcontext()


async def work(job: ImportJob, slot: Slot = _NO_SLOT) -> None:
    """Bring the import to its end, or to where somebody else has taken it up. Each piece, or an
    import that is one whole, is written inside `slot`. Raises what stops it: a quota, a suspended
    tenant, a database that stays away."""
    record = await _patiently(lambda: _load(job), _NO_SLOT)
    if record.is_whole:
        await _patiently(lambda: write_whole(job), slot)
        return
    while await _patiently(lambda: _write_next(job), slot):
        pass


async def _load(job: ImportJob) -> ImportRecord:
    async with transaction(job.database):
        return await records.load(job.id)


async def _patiently(step: Callable[[], Awaitable[Result]], slot: Slot) -> Result:
    """A deadlock, a lock or a moment without a database is no reason to give up: what had been
    written was undone, and is written again."""
    for seconds in _PAUSES_SECONDS:
        try:
            async with slot:
                return await step()
        except (Unavailable, TooManyAtOnce):
            await asyncio.sleep(seconds)
    async with slot:
        return await step()


async def _write_next(job: ImportJob) -> bool:
    """Write the next piece, or end; whether there may be more."""
    async with transaction(job.database):
        record = await claim(job)
        if record is None:
            return False
        if record.next_chunk == record.chunks:
            await records.change(job.id, job.worker, status="done")
            return False
        if record.failed >= errors.MOST_KEPT:
            await give_up(job)
            return False
        done = await _write(job, record)
    job.tell(done)
    return True


async def _write(job: ImportJob, record: ImportRecord) -> ImportResult:
    reader = reader_for(job.target, record.options, record.go_on_at())
    number = record.next_chunk
    data = await pieces.fetch(job.id, number)
    rows = reader.read(data, is_last=number + 1 == record.chunks)
    result, sources = await write_piece(job.target, rows, on_conflict=record.on_conflict)
    await errors.keep(job.id, result.errors, sources)
    # Last, for only now the reader knows where it stands.
    position = msgspec.msgpack.encode(reader.position)
    await records.add(job.id, job.worker, result, next_chunk=number + 1, position=position)
    await pieces.remove(job.id, number)
    return result
