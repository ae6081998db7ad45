"""An import and who works on it."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple
from uuid import UUID

from saas.db.bulk_results import ImportResult
from saas.db.bulk_target import BulkTarget
from saas.db.database import Database
from saas.db.imports import errors, pieces, records
from saas.db.imports.record import ImportRecord


class ImportJob(NamedTuple):
    """`check` is called in the transaction of each piece, and raises why the tenant may not go on.
    `tell` gets what became of the rows of each piece."""

    database: Database
    target: BulkTarget
    id: UUID
    worker: UUID
    check: Callable[[], Awaitable[object]]
    tell: Callable[[ImportResult], object]


async def claim(job: ImportJob) -> ImportRecord | None:
    """The import as it stands, and stays until the end of the transaction. None where somebody else
    has taken it up, or it has ended."""
    record = await records.load(job.id)
    if record.worker != job.worker or record.status != "running":
        return None
    await job.check()
    return record


async def give_up(job: ImportJob) -> None:
    """End an import with too many refused rows, unless somebody else has taken it up. What is in
    stays in."""
    if await records.change(job.id, job.worker, status="failed", detail=errors.TOO_MANY):
        await pieces.remove_all(job.id)
