"""The one door to tenants' rows for threads: the twin of `saas/db/repository.py`, over the same
operations."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Generic
from uuid import UUID

from sqlalchemy import Table

from saas.db.error_mapping import FAILURES
from saas.db.operation import Operation, Result
from saas.db.query import QueryGrammar
from saas.db.row_operations import Model, Page, Read, RowOperations
from saas.db.sync.transaction import current_transaction
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

    def get(self, id: UUID, *, include_deleted: bool = False) -> Read:
        """The live row. Raises NotFound for absent, deleted and another tenant's alike."""
        return perform(self.operations.get(id, include_deleted=include_deleted))

    def list(self, query: Query = None) -> Page[Read]:
        """One page in the query's order, and where the next one begins. The query is a ListQuery or
        what `where(...)` makes; raises BadRequest for what the columns do not allow."""
        return perform(self.operations.list(query))

    def count(self, query: Query = None) -> int:
        """How many rows match, over all pages."""
        return perform(self.operations.count(query))

    def stream(self, query: Query = None, *, batch: int = 500) -> Iterator[Read]:
        """Every row that matches, in the query's order and without its limit, `batch` of them in
        memory at a time: from a cursor inside the current transaction, which sees the rows as they
        were at its first statement. Leaving the loop early frees it."""
        stream = perform(self.operations.open_stream(query, current_transaction().next_stream()))
        try:
            while rows := perform(self.operations.fetch_stream(stream, batch)):
                yield from rows
        except GeneratorExit:
            # Where the transaction has failed or ended, the cursor has gone with it.
            with suppress(Unbound, SaasError, *FAILURES):
                perform(self.operations.close_stream(stream))
            raise
        perform(self.operations.close_stream(stream))

    def create(self, values: Mapping[str, Any]) -> Read:
        """Insert a row of the bound tenant. Raises AlreadyExists where its natural key is taken,
        Invalid where a value or a reference is refused."""
        return perform(self.operations.create(values))

    def update(self, id: UUID, changes: Mapping[str, Any], *, version: int | None = None) -> Read:
        """Change the given columns of a live row; one that already has these values keeps its
        version. Raises NotFound, or VersionConflict when `version` is not the present one."""
        return perform(self.operations.update(id, changes, version=version))

    def delete(self, id: UUID, *, version: int | None = None) -> None:
        """Soft delete: the row leaves all lists and frees its natural key, and can be restored."""
        perform(self.operations.delete(id, version=version))

    def restore(self, id: UUID, *, version: int | None = None) -> Read:
        """Bring a soft-deleted row back. Raises NotDeleted for a live one, AlreadyExists when its
        natural key is taken by now, ParentGone when a row that it refers to is deleted, and
        VersionConflict when `version` is not the present one."""
        return perform(self.operations.restore(id, version=version))

    def purge(self, id: UUID, *, version: int | None = None) -> None:
        """Delete for good, deleted rows too; children go with it. The audit log keeps the row."""
        perform(self.operations.purge(id, version=version))


def perform(operation: Operation[Result]) -> Result:
    """Carry `operation` out in the current transaction."""
    work = current_transaction()
    try:
        step = next(operation)
        while True:
            try:
                rows = work.run(step.statement, step.values)
            except SaasError as refusal:
                step = operation.throw(refusal)
            else:
                step = operation.send(rows)
    except StopIteration as end:
        result: Result = end.value
        return result
