"""All rows of a query as a file, in pieces, from one snapshot of the database."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, NamedTuple

import msgspec

from saas import context
from saas.db.export_formats import Format
from saas.db.query import ListQuery, QueryGrammar, bad_parameter
from saas.db.repository import TenantRepository
from saas.db.transaction import Transaction, current_transaction

PAGING = frozenset({"limit", "cursor", "offset", "include_total"})
# Enough that the round trips do not count.
_FETCHED_ROWS = 200
# Some hundred microseconds: how long others on the same event loop wait at most.
_ROWS_AT_ONCE = 50


def export_query(grammar: QueryGrammar, pairs: Sequence[tuple[str, str]]) -> ListQuery:
    """What the parameters of a list mean for an export. Raises BadRequest naming what is allowed,
    also for what says which part of a list is wanted."""
    for name, _ in pairs:
        if name in PAGING:
            raise bad_parameter(name, "An export has all rows of its query, and no pages.")
    return grammar.parse(pairs)


class Piece(NamedTuple):
    content: bytes
    rows: int


@asynccontextmanager
async def snapshot() -> AsyncIterator[Transaction]:
    """Inside the block another transaction on the same pool is current, read-only and of one
    snapshot: all its statements see what was committed before the first. It may last long, so
    there are only so many at once: raises Unavailable. It ends with the block."""
    pool = current_transaction().pool
    with pool.long_reads.turn(context.principal().tenant_id):
        async with Transaction(pool, read_only=True, one_snapshot=True) as work:
            yield work


async def export_pieces(
    repository: TenantRepository[Any, Any], query: ListQuery, format: Format
) -> AsyncGenerator[Piece, None]:
    """The file of a query's rows, read from the current transaction while it is asked for, some
    rows a piece. What is refused before the first row is raised before the first piece; an
    error later leaves a file that is not whole. Before each piece the caller's leave is asked for
    again (`context.require_admission`)."""
    columns = query.fields or repository.operations.columns
    layout = format.layout(repository.table, columns)
    head = layout.head
    async with aclosing(_batches(repository, query)) as batches:
        async for rows in batches:
            yield Piece(head + layout.lines(rows), len(rows))
            head = b""
            await context.require_admission()
    if head:
        yield Piece(head, 0)


async def _batches(
    repository: TenantRepository[Any, Any], query: ListQuery
) -> AsyncGenerator[list[msgspec.Struct], None]:
    batch: list[msgspec.Struct] = []
    async with aclosing(repository.stream(query, batch=_FETCHED_ROWS)) as rows:
        async for row in rows:
            batch.append(row)
            if len(batch) == _ROWS_AT_ONCE:
                yield batch
                batch = []
                await asyncio.sleep(0)
    if batch:
        yield batch
