"""Copies the tables of a map into the bound tenant, batch by batch, each a transaction with its
place in the checkpoint."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import NamedTuple

import msgspec

from saas.db.bulk_import import import_chunk
from saas.db.bulk_results import ImportResult
from saas.db.database import Database
from saas.db.outcomes import outcome_of, transaction_name
from saas.db.repository import perform
from saas.db.transaction import Transaction, transaction
from saas.errors import ConfigurationError
from saas.legacy.bad_rows import BadRows
from saas.legacy.batches import Batch, batches, with_references
from saas.legacy.checkpoint import CheckpointFile, Pending, Position, TableState, key_state
from saas.legacy.plan import TablePlan

_PATIENCE_SECONDS = 60
_POLL_SECONDS = 0.1


class Migration(NamedTuple):
    """`checkpoint` is None for a dry run, of which nothing stays but the bad rows. In each batch's
    transaction `check` raises why the tenant may not go on; `tell` is told how the table stands."""

    database: Database
    plans: Sequence[TablePlan]
    bad_rows: BadRows
    checkpoint: CheckpointFile | None
    check: Callable[[], Awaitable[object]]
    tell: Callable[[TableState], object]
    batch_rows: int = 5_000


class TableOutcome(msgspec.Struct, frozen=True):
    """The final count: rows in the source, and in the tenant. `is_whole` says that all of them were
    read and written, and that the tenant has so many more as were inserted."""

    state: TableState
    in_source: int
    in_tenant: int

    @property
    def is_whole(self) -> bool:
        state = self.state
        return (
            self.in_source == state.read
            and state.failed == 0
            and self.in_tenant == state.before + state.inserted
        )


async def migrate(migration: Migration) -> list[TableOutcome]:
    """Copy what was not copied yet. What breaks it off can be repeated: it goes on with the batch
    that is not in. Raises ConfigurationError where the source cannot be read, and what is not
    about a row: Unavailable, TenantSuspended, a quota."""
    if migration.checkpoint is None:
        migration.bad_rows.keep(0)
        # One transaction, so that references find the rows of the tables before.
        async with Transaction(migration.database.app):
            return await _Copying(migration, Position()).tables()
    await _settle(migration, migration.checkpoint)
    return await _Copying(migration, migration.checkpoint.position).tables()


async def _settle(migration: Migration, checkpoint: CheckpointFile) -> None:
    """Find out what became of the batch that was on its way when the migration was cut off."""
    pending = checkpoint.pending
    if pending is not None:
        for _ in range(round(_PATIENCE_SECONDS / _POLL_SECONDS)):
            async with transaction(migration.database, read_only=True):
                outcome = await outcome_of(pending.transaction)
            if outcome != "in progress":
                break
            await asyncio.sleep(_POLL_SECONDS)
        if outcome not in ("committed", "aborted"):
            raise ConfigurationError(
                f"nobody knows whether the last batch is in (transaction {pending.transaction}, "
                f"{outcome or 'unknown here'}): see what the tenant has, and --restart"
            )
        checkpoint.settle(is_committed=outcome == "committed")
    migration.bad_rows.keep(checkpoint.position.errors_bytes)


class _Copying:
    def __init__(self, migration: Migration, position: Position) -> None:
        self._migration = migration
        self._position = position

    async def tables(self) -> list[TableOutcome]:
        return [await self._table(n, plan) for n, plan in enumerate(self._migration.plans)]

    async def _table(self, number: int, plan: TablePlan) -> TableOutcome:
        if number == len(self._position.tables):
            state = TableState(
                source=plan.map.source,
                resource=plan.map.resource,
                before=await self._count(plan),
            )
            self._position = Position(
                (*self._position.tables, state), self._migration.bad_rows.size
            )
        after = self._position.tables[number].key
        async with aclosing(batches(plan, after, self._migration.batch_rows)) as found:
            async for batch in found:
                await self._write(number, plan, batch)
                self._migration.tell(self._position.tables[number])
        in_source = await asyncio.to_thread(plan.source.count)
        return TableOutcome(self._position.tables[number], in_source, await self._count(plan))

    async def _write(self, number: int, plan: TablePlan, batch: Batch) -> None:
        checkpoint = self._migration.checkpoint
        if checkpoint is None:
            self._position = await self._written(number, plan, batch)
            return
        async with Transaction(self._migration.database.app) as work:
            position = await self._written(number, plan, batch)
            checkpoint.prepare(Pending(await transaction_name(), position))
            await work.commit()
        checkpoint.settle(is_committed=True)
        self._position = position

    async def _written(self, number: int, plan: TablePlan, batch: Batch) -> Position:
        """Write `batch` in the current transaction; the position behind it."""
        await self._migration.check()
        rows = await with_references(plan, batch.rows)
        result = await import_chunk(plan.target, rows, on_conflict=plan.map.on_conflict)
        bad_rows = self._migration.bad_rows
        bad_rows.add(batch.bad_row(plan, error) for error in result.errors)
        before = self._position.tables
        state = _behind(before[number], batch, result)
        return Position((*before[:number], state, *before[number + 1 :]), bad_rows.size)

    async def _count(self, plan: TablePlan) -> int:
        if self._migration.checkpoint is None:
            return await perform(plan.target.rows.count())
        async with transaction(self._migration.database, read_only=True):
            return await perform(plan.target.rows.count())


def _behind(state: TableState, batch: Batch, result: ImportResult) -> TableState:
    return msgspec.structs.replace(
        state,
        after=key_state(batch.keys[-1]),
        read=state.read + len(batch.keys),
        inserted=state.inserted + result.inserted,
        updated=state.updated + result.updated,
        skipped=state.skipped + result.skipped,
        failed=state.failed + result.failed,
    )
