"""The one door to tenants' rows. What each method does is in `row_operations.py`; here it is
awaited, and `sync/repository.py` is the same for threads."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Generic, TypeAlias
from uuid import UUID

from sqlalchemy import Table

from saas.db.audit import AuditEntry
from saas.db.batch import batch, create_many
from saas.db.batch_items import BatchItem, BatchResult, OnConflict
from saas.db.error_mapping import FAILURES
from saas.db.history_operations import HistoryOperations
from saas.db.operation import Operation, Result
from saas.db.query import QueryGrammar
from saas.db.row_operations import Model, Page, Read, RowOperations
from saas.db.transaction import current_transaction
from saas.db.where import Query
from saas.errors import SaasError, Unbound

# `list` is a method of the repository.
Results: TypeAlias = list[BatchResult]


class TenantRepository(Generic[Model, Read]):
    """Rows of `model` in the bound tenant, read as `read` (whose fields name columns).

    `search` are the text columns behind `q`; `natural_key` is unique among live rows; by `hidden`
    columns no list is filtered or sorted. Subclass it for questions of your own. Each method works
    in the current transaction, and raises Unbound outside a tenant or transaction, a SaasError for
    a refusal.
    """

    def __init__(
        self,
        model: type[Model],
        read: type[Read],
        *,
        search: Sequence[str] = (),
        natural_key: tuple[str, ...] = (),
        hidden: Sequence[str] = (),
    ) -> None:
        self.operations = RowOperations(
            model, read, search=search, natural_key=natural_key, hidden=hidden
        )
        self.past = HistoryOperations(self.operations)

    @property
    def table(self) -> Table:
        return self.operations.table

    @property
    def grammar(self) -> QueryGrammar:
        return self.operations.grammar

    @property
    def natural_key(self) -> tuple[str, ...]:
        return self.operations.natural_key

    async def get(
        self, id: UUID, *, include_deleted: bool = False, fields: tuple[str, ...] = ()
    ) -> Read:
        """The live row; with `fields`, these of it alone. Raises NotFound for absent, deleted and
        another tenant's alike."""
        return await perform(
            self.operations.get(id, include_deleted=include_deleted, fields=fields)
        )

    async def list(self, query: Query = None) -> Page[Read]:
        """One page in the query's order, and where its neighbours begin. The query is a ListQuery
        or what `where(...)` makes; raises BadRequest for what the columns do not allow."""
        return await perform(self.operations.list(query))

    async def count(self, query: Query = None) -> int:
        """How many rows match, over all pages."""
        return await perform(self.operations.count(query))

    async def stream(self, query: Query = None, *, batch: int = 500) -> AsyncGenerator[Read, None]:
        """Every row that matches, shown and ordered as by `list` but without its limit, `batch` of
        them in memory at a time: from a cursor inside the current transaction, which sees the rows
        as they were at its first statement. `contextlib.aclosing` frees the cursor where the loop
        is left early; else it ends with the transaction."""
        stream = await perform(
            self.operations.open_stream(query, current_transaction().next_stream())
        )
        task = asyncio.current_task()
        try:
            while rows := await perform(self.operations.fetch_stream(stream, batch)):
                for row in rows:
                    yield row
        except GeneratorExit:
            # Left for the collector it ends in a task of its own, beside which the transaction may
            # be at work or over; the cursor ends with it.
            if asyncio.current_task() is task:
                with suppress(Unbound, SaasError, *FAILURES):
                    await perform(self.operations.close_stream(stream))
            raise
        await perform(self.operations.close_stream(stream))

    async def create(self, values: Mapping[str, Any]) -> Read:
        """Insert a row of the bound tenant. Raises AlreadyExists where its natural key is taken,
        Invalid where a value or a reference is refused."""
        return await perform(self.operations.create(values))

    async def update(
        self, id: UUID, changes: Mapping[str, Any], *, version: int | None = None
    ) -> Read:
        """Change the given columns of a live row; one that already has these values keeps its
        version. Raises NotFound, or VersionConflict when `version` is not the present one."""
        return await perform(self.operations.update(id, changes, version=version))

    async def delete(self, id: UUID, *, version: int | None = None) -> None:
        """Soft delete: the row leaves all lists and frees its natural key, and can be restored."""
        await perform(self.operations.delete(id, version=version))

    async def restore(self, id: UUID, *, version: int | None = None) -> Read:
        """Bring a soft-deleted row back. Raises NotDeleted for a live one, AlreadyExists when its
        natural key is taken by now, ParentGone when a row that it refers to is deleted, and
        VersionConflict when `version` is not the present one."""
        return await perform(self.operations.restore(id, version=version))

    async def batch(
        self,
        items: Sequence[BatchItem | SaasError],
        *,
        is_atomic: bool = True,
        on_conflict: OnConflict = "update",
    ) -> Results:
        """Carry out many changes in their order; those of one kind go in one statement. Atomic: the
        first refusal is raised, with pointers that begin with `/items/<index>`, and nothing is
        changed. Otherwise each item that is refused fails alone, and the others are kept.
        `on_conflict` is what an upsert does to a live row with its natural key. A deadlock with
        other batches is none of the caller's business (docs/decisions/0008)."""
        return await perform(
            batch(self.operations, items, is_atomic=is_atomic, on_conflict=on_conflict)
        )

    async def create_many(
        self, values: Sequence[Mapping[str, Any]], *, place: str = "/{}"
    ) -> Sequence[Read]:
        """Insert all rows, or none: the first refusal is raised, with pointers that begin with
        `place`, where {} is the index."""
        return await perform(create_many(self.operations, values, place=place))

    async def purge(self, id: UUID, *, version: int | None = None) -> None:
        """Delete for good, deleted rows too; children go with it. The audit log keeps the row."""
        await perform(self.operations.purge(id, version=version))

    async def history(self, id: UUID, query: Query = None) -> Page[AuditEntry]:
        """The audit entries of a row, live or soft-deleted, the newest first."""
        return await perform(self.past.history(id, query))

    async def get_as_of(self, id: UUID, time: datetime) -> Read:
        """The row as it was at `time`, also where it was deleted or purged since. Raises NotFound
        where it was not live then, BadRequest for a time in the future or without an offset.
        docs/history.md says what is exact."""
        return await perform(self.past.get_as_of(id, time))

    async def revert(
        self, id: UUID, *, to: UUID, version: int | None = None, may_purge: bool = True
    ) -> Read:
        """Set the row back to its state after the audit entry `to`, as one new change; a state
        that it has already keeps its version. Deleted and purged rows come back too, unless
        `may_purge` is False (PermissionDenied). Raises NotFound for a row that never was, Invalid
        where `to` is no entry of this row or a value is refused now, Conflict where there is no way
        back, AlreadyExists, ParentGone and VersionConflict as `restore` does."""
        return await perform(self.past.revert(id, to=to, version=version, may_purge=may_purge))


async def perform(operation: Operation[Result]) -> Result:
    """Carry `operation` out in the current transaction. Operations of one transaction run one at a
    time: another's statement between a savepoint and its end, or between the room that was found
    for rows and these rows, would be undone or go uncounted."""
    work = current_transaction()
    async with work.turn:
        try:
            step = next(operation)
            while True:
                try:
                    rows = await work.run_in_turn(
                        step.statement, step.values, can_wait=step.can_wait
                    )
                except SaasError as refusal:
                    if not work.has_begun:
                        # Of the whole work, and none of the statement's.
                        raise
                    step = operation.throw(refusal)
                else:
                    step = operation.send(rows)
        except StopIteration as end:
            result: Result = end.value
            return result
