"""An import that goes in together or not at all, and one that is only tried: its rows are in one
transaction, and what is told of them in others, which stay."""

import msgspec

from saas.db.apart import apart
from saas.db.bulk_results import ImportResult
from saas.db.imports import errors, pieces, records
from saas.db.imports.job import ImportJob, claim, give_up
from saas.db.imports.piece import WrittenPiece, reader_for, write_piece
from saas.db.imports.record import ImportRecord
from saas.db.imports.source import Position
from saas.db.lanes import IMPORTS
from saas.db.transaction import Transaction

_REFUSED = "{} of {} rows are refused, so none is stored. Correct them and send the file again."


async def write_whole(job: ImportJob) -> bool:
    """Write every piece, then keep all rows or none. Whether the import has ended by it; it has
    not where somebody else has taken it up."""
    record = await _begin_anew(job)
    if record is None:
        return False
    reader = reader_for(job.target, record.options, Position())
    total = ImportResult()
    async with Transaction(job.database.app) as rows:
        for number in range(record.chunks):
            data = await pieces.fetch(job.id, number)
            read = reader.read(data, is_last=number + 1 == record.chunks)
            written = await write_piece(job.target, read, on_conflict=record.on_conflict)
            total.add(written.result.counts())
            # The file's header is in the position.
            position = msgspec.msgpack.encode(reader.position)
            if not await _tell(job, written, total, position):
                return False
            if total.failed >= errors.MOST_KEPT and number + 1 < record.chunks:
                await rows.rollback()
                async with apart(job.database, lane=IMPORTS):
                    await give_up(job)
                return True
        if record.mode == "atomic" and total.failed == 0 and not record.dry_run:
            is_ended = await _end(job, total, status="done")
            if is_ended:
                await rows.commit()
            return is_ended
        await rows.rollback()
    return await _end_without_rows(job, record, total)


async def _begin_anew(job: ImportJob) -> ImportRecord | None:
    """Nothing of a run before has stayed, but what it told."""
    async with apart(job.database, lane=IMPORTS):
        record = await claim(job)
        if record is not None:
            await errors.forget(job.id)
        return record


async def _tell(
    job: ImportJob, written: WrittenPiece, total: ImportResult, position: bytes
) -> bool:
    async with apart(job.database, lane=IMPORTS):
        if await claim(job) is None:
            return False
        await errors.keep(job.id, written.result.errors, written.sources)
        await records.change(
            job.id,
            job.worker,
            rows_read=total.rows_read,
            failed=total.failed,
            position=position,
        )
    job.tell(written.result)
    return True


async def _end_without_rows(job: ImportJob, record: ImportRecord, total: ImportResult) -> bool:
    async with apart(job.database, lane=IMPORTS):
        if record.mode == "partial" or total.failed == 0:
            return await _end(job, total, status="done")
        detail = _REFUSED.format(total.failed, total.rows_read)
        return await _end(job, ImportResult(), status="failed", detail=detail)


async def _end(
    job: ImportJob, total: ImportResult, *, status: str, detail: str | None = None
) -> bool:
    is_ended = await records.change(
        job.id,
        job.worker,
        status=status,
        detail=detail,
        inserted=total.inserted,
        updated=total.updated,
        skipped=total.skipped,
    )
    await pieces.remove_all(job.id)
    return is_ended
