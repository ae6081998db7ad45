"""The one door to tenants' rows. What each method does is in `row_operations.py`; here it is
awaited, and `sync/repository.py` is the same for threads."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Generic
from uuid import UUID

from sqlalchemy import Table

from saas.db.error_mapping import FAILURES
from saas.db.operation import Operation, Result
from saas.db.query import QueryGrammar
from saas.db.row_operations import Model, Page, Read, RowOperations
from saas.db.transaction import current_transaction
from saas.db.where import Query
from saas.errors import SaasError, Unbound


class TenantRepository(Generic[Model, Read]):
    """Rows of `model` in the bound tenant, read as `read` (whose fields name columns).

    `search` are the text columns behind `q`; `natural_key` is unique among live rows. Subclass it
    for questions of your own. Each method works in the current transaction, and raises Unbound
    outside a tenant or transaction, a SaasError for a refusal.
    """

    def __init__(
        self,
        model: type[Model],
        read: type[Read],
        *,
        search: Sequence[str] = (),
        natural_key: tuple[str, ...] = (),
    ) -> None:
        self.operations = RowOperations(model, read, search=search, natural_key=natural_key)

    @property
    def table(self) -> Table:
        return self.operations.table

    @property
    def grammar(self) -> QueryGrammar:
        return self.operations.grammar

    @property
    def natural_key(self) -> tuple[str, ...]:
        return self.operations.natural_key

    async def get(self, id: UUID, *, include_deleted: bool = False) -> Read:
        """The live row. Raises NotFound for absent, deleted and another tenant's alike."""
        return await perform(self.operations.get(id, include_deleted=include_deleted))

    async def list(self, query: Query = None) -> Page[Read]:
        """One page in the query's order, and where the next one begins. The query is a ListQuery or
        what `where(...)` makes; raises BadRequest for what the columns do not allow."""
        return await perform(self.operations.list(query))

    async def count(self, query: Query = None) -> int:
        """How many rows match, over all pages."""
        return await perform(self.operations.count(query))

    async def stream(self, query: Query = None, *, batch: int = 500) -> AsyncIterator[Read]:
        """Every row that matches, in the query's order and without its limit, `batch` of them in
        memory at a time: from a cursor inside the current transaction, which sees the rows as they
        were at its first statement. `contextlib.aclosing` frees the cursor where the loop is left
        early; else it ends with the transaction."""
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

    async def purge(self, id: UUID, *, version: int | None = None) -> None:
        """Delete for good, deleted rows too; children go with it. The audit log keeps the row."""
        await perform(self.operations.purge(id, version=version))


async def perform(operation: Operation[Result]) -> Result:
    """Carry `operation` out in the current transaction."""
    work = current_transaction()
    try:
        step = next(operation)
        while True:
            try:
                rows = await work.run(step.statement, step.values)
            except SaasError as refusal:
                step = operation.throw(refusal)
            else:
                step = operation.send(rows)
    except StopIteration as end:
        result: Result = end.value
        return result
