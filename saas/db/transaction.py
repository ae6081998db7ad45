"""One transaction per request, begun at its first statement and ended by the framework's edge."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import asyncpg

from saas import context
from saas.db.database import Database, Pool
from saas.db.error_mapping import refusal_for
from saas.errors import Unavailable, Unbound


class Transaction:
    """A unit of work on one connection. It takes a connection and begins at the first statement,
    bound to the principal of that moment; it refuses to go on under another tenant."""

    __slots__ = ("_connection", "_pool", "_read_only")

    def __init__(self, pool: Pool, *, read_only: bool = False) -> None:
        self._pool = pool
        self._read_only = read_only
        self._connection: Any = None

    async def fetch(self, sql: str, arguments: Sequence[Any] = ()) -> list[asyncpg.Record]:
        """Run one statement and return its rows. Raises a SaasError for what the database
        refuses."""
        try:
            connection = self._connection or await self._begin()
            self._check_binding(connection)
            rows: list[asyncpg.Record] = await connection.fetch(sql, *arguments)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            raise refusal_for(error) from error
        return rows

    async def commit(self) -> None:
        """End the work for good. A constraint that only fails now raises like one before."""
        if self._connection is None:
            return
        try:
            status = await self._connection.execute("COMMIT")
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            raise refusal_for(error) from error
        await self._release()
        if status != "COMMIT":
            # A caught error had already aborted it: PostgreSQL answers COMMIT with ROLLBACK.
            raise Unavailable("The transaction had failed and was rolled back.")

    async def rollback(self) -> None:
        """Undo what was not committed and give the connection back. Safe to call twice."""
        if self._connection is None:
            return
        try:
            if not self._connection.is_closed():
                await self._connection.execute("ROLLBACK")
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
            self._connection.terminate()
        finally:
            await self._release()

    async def _begin(self) -> Any:
        connection = await self._pool.acquire()
        self._connection = connection
        await connection.execute("BEGIN READ ONLY" if self._read_only else "BEGIN")
        return connection

    def _check_binding(self, connection: Any) -> None:
        # One tenant per transaction: another principal entered after BEGIN must not write here.
        if connection.bound_to is not context.principal_or_none():
            raise Unbound("the transaction is bound to another principal than the context")

    async def _release(self) -> None:
        connection, self._connection = self._connection, None
        await self._pool.release(connection)


_current: ContextVar[Transaction | None] = ContextVar("transaction", default=None)


def current_transaction() -> Transaction:
    """The transaction of the running request or `transaction()` block; Unbound without one."""
    current = _current.get()
    if current is None:
        raise Unbound("no transaction is open: enter transaction(...) or come through the API")
    return current


async def commit_current() -> None:
    """Commit the current transaction, where there is one: the framework's edge calls this."""
    current = _current.get()
    if current is not None:
        await current.commit()


@asynccontextmanager
async def unit_of_work(pool: Pool, *, read_only: bool = False) -> AsyncIterator[Transaction]:
    """Make a transaction current for the block. Whoever runs the block commits; what is not
    committed at its end is rolled back."""
    work = Transaction(pool, read_only=read_only)
    token = _current.set(work)
    try:
        yield work
    finally:
        _current.reset(token)
        await work.rollback()


@asynccontextmanager
async def transaction(database: Database, *, read_only: bool = False) -> AsyncIterator[Transaction]:
    """For scripts, jobs and services: commits at the end of the block, rolls back on any error.
    Several repositories used inside share it: all or nothing."""
    async with unit_of_work(database.app, read_only=read_only) as work:
        yield work
        await work.commit()


@asynccontextmanager
async def platform_transaction(database: Database) -> AsyncIterator[Transaction]:
    """The same as the platform role, which sees tenants but not their rows."""
    async with unit_of_work(database.platform) as work:
        yield work
        await work.commit()
