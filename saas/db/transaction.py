"""One transaction per request, begun at its first statement and ended by the framework's edge."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar, Token
from typing import Any

from saas import context
from saas.context import Principal
from saas.db.connection import TenantConnection
from saas.db.database import Database
from saas.db.error_mapping import FAILURES, refusal_for
from saas.db.pool import Pool
from saas.db.statements import Statement
from saas.errors import Unavailable, Unbound

# A cancelled statement is waited for; a server that does not answer must not hold its caller.
_ROLLBACK_SECONDS = 5
# A snapshot keeps vacuum from its work. A process that is stopped or cut off lets go of it then;
# one that runs gives up a stuck reader earlier.
_LET_GO = "SET LOCAL idle_in_transaction_session_timeout='3min'"


class Transaction:
    """A unit of work on one connection, current inside its `async with` block.

    It takes a connection and begins at the first statement, bound to the principal of that moment,
    and refuses to go on under another one. Statements run one at a time. Whoever runs the block
    commits; what is not committed at its end is rolled back. `recheck` is asked before it begins,
    and what it gives is waited for: it may refuse the work. `lane` is whose share of the pool it
    takes, the tenant's unless another is named. `one_snapshot` is for a read-only one of many
    statements: all of them see what was committed before the first.
    """

    __slots__ = (
        "_bound_before",
        "_connection",
        "_in_attempt",
        "_is_over",
        "_lane",
        "_on_commit",
        "_one_snapshot",
        "_pool",
        "_read_only",
        "_recheck",
        "_streams",
        "_token",
        "_waiting",
        "turn",
    )

    def __init__(
        self,
        pool: Pool,
        *,
        read_only: bool = False,
        recheck: Callable[[], Awaitable[None] | None] | None = None,
        lane: Hashable | None = None,
        one_snapshot: bool = False,
    ) -> None:
        self._pool = pool
        self._read_only = read_only
        self._recheck = recheck
        self._lane = lane
        self._one_snapshot = one_snapshot
        self._connection: TenantConnection | None = None
        self._token: Token[Transaction | None] | None = None
        self.turn = asyncio.Lock()
        """Held while a statement runs, or statements that belong together (`run_in_turn`)."""
        self._is_over = False
        self._in_attempt = False
        self._bound_before: Principal | None = None
        self._streams = 0
        self._waiting: tuple[str, ...] = ()
        self._on_commit: tuple[Callable[[], object], ...] = ()

    async def __aenter__(self) -> "Transaction":
        self._token = _current.set(self)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._token is not None:
            _current.reset(self._token)
        await self.rollback()

    async def fetch(self, sql: str, arguments: Sequence[Any] = ()) -> Sequence[Any]:
        """Run one statement and return its rows. Raises a SaasError for what the database refuses,
        Unbound after the end or under another principal."""
        async with self.turn:
            return await self._fetch(sql, arguments)

    async def run(self, statement: Statement, values: Mapping[str, Any]) -> Sequence[Any]:
        """Run a compiled statement with its parameters by name; else like `fetch`."""
        return await self.fetch(statement.sql, statement.arguments(values))

    @property
    def pool(self) -> Pool:
        return self._pool

    @property
    def has_begun(self) -> bool:
        return self._connection is not None

    async def run_in_turn(
        self, statement: Statement, values: Mapping[str, Any], *, can_wait: bool = False
    ) -> Sequence[Any]:
        """`run` for who holds `turn`. What `can_wait` goes out with the next statement, or with the
        COMMIT: a message takes longer than a savepoint."""
        connection = self._connection
        # Behind a rebind it would keep other settings than before it.
        if can_wait and (connection is None or self._is_bound(connection)) and not self._is_over:
            self._waiting += (statement.sql,)
            return ()
        return await self._fetch(statement.sql, statement.arguments(values))

    def next_stream(self) -> int:
        """A number for one more cursor of this transaction."""
        self._streams += 1
        return self._streams

    def on_commit(self, call: Callable[[], object]) -> None:
        """Call it once the work is committed, and never if it is not."""
        self._on_commit += (call,)

    async def commit(self) -> None:
        """End the work for good. A constraint that only fails now raises like one before."""
        self._is_over = True
        connection = self._connection
        if connection is None:
            return
        if self._in_attempt:
            await self._execute(connection, "SET CONSTRAINTS ALL IMMEDIATE")
            self._in_attempt = False
            return
        if self._read_only and not self._one_snapshot:
            # Nothing to lose: the COMMIT goes out with the next BEGIN on this connection.
            connection.lingers = True
        else:
            await self._commit(connection)
        self._connection = None
        self._pool.release(connection)
        for call in self._on_commit:
            call()

    async def rollback(self) -> None:
        """Undo what was not committed now, and not only at the end of the block: for an answer
        that says so, and whose reader may be back before that end."""
        self._is_over = True
        if self._connection is not None:
            await self._rollback(self._connection)

    async def begin_attempt(self) -> None:
        """What is done from here on can be undone alone: `commit` now only proves that it could be
        committed, and `end_attempt` must follow. A statement must have come before."""
        connection = self._begun()
        await self._execute(connection, "SAVEPOINT attempt")
        self._bound_before, self._in_attempt = connection.bound_to, True

    async def end_attempt(self) -> None:
        """Keep what `commit` was called for, undo anything else, and go on either way."""
        if self._in_attempt:
            connection = self._begun()
            await self._undo_to("attempt", connection)
            # The settings of the transaction have gone back as well.
            connection.bound_to, self._in_attempt = self._bound_before, False
            self._on_commit = ()
        self._is_over = False

    @asynccontextmanager
    async def trial(self) -> AsyncIterator[None]:
        """What is done inside is undone at its end, and the transaction goes on. A statement must
        have come before."""
        connection = self._begun()
        await self._execute(connection, "SAVEPOINT trial")
        bound_before = connection.bound_to
        yield
        await self._undo_to("trial", connection)
        # The settings of the transaction have gone back as well.
        connection.bound_to = bound_before

    async def _fetch(self, sql: str, arguments: Sequence[Any]) -> Sequence[Any]:
        if self._is_over:
            # What came now would be rolled back unseen.
            raise Unbound("the transaction has ended: open one with transaction(...)")
        try:
            connection = self._connection or await self._begin()
            if self._waiting:
                await connection.execute(self._message())
            if not self._is_bound(connection):
                # One tenant per transaction: a principal entered since must not act here.
                await connection.rebind()
            rows: Sequence[Any] = await connection.fetch(sql, *arguments)
        except FAILURES as error:
            raise refusal_for(error) from error
        return rows

    @staticmethod
    def _is_bound(connection: TenantConnection) -> bool:
        return connection.bound_to is context.principal_or_none()

    def _message(self, *commands: str) -> str:
        """What waits to go out, and then `commands`, in one message."""
        waiting, self._waiting = self._waiting, ()
        return ";".join((*waiting, *commands))

    def _begun(self) -> TenantConnection:
        if self._connection is None:
            raise Unbound("the transaction has not begun")
        return self._connection

    async def _commit(self, connection: TenantConnection) -> None:
        status = await self._execute(connection, "COMMIT")
        if status != "COMMIT":
            # A caught error had already aborted it: PostgreSQL answers COMMIT with ROLLBACK.
            raise Unavailable("The transaction had failed and was rolled back.")

    async def _undo_to(self, savepoint: str, connection: TenantConnection) -> None:
        # What did not go out yet need not: after a failure nothing but this is carried out.
        self._waiting = ()
        await self._execute(connection, f"ROLLBACK TO SAVEPOINT {savepoint}")

    async def _execute(self, connection: TenantConnection, command: str) -> str:
        try:
            return await connection.execute(self._message(command))
        except FAILURES as error:
            raise refusal_for(error) from error

    async def _begin(self) -> TenantConnection:
        # Gone where it does not begin, which is refused as a whole.
        waiting = self._message()
        principal = context.principal_or_none()
        lane = principal.tenant_id if self._lane is None and principal else self._lane
        connection = await self._pool.acquire(lane)
        # With a connection in hand, for which one may wait long; but not held while it is asked.
        while self._recheck is not None and (answer := self._recheck()) is not None:
            self._pool.release(connection)
            await answer
            connection = await self._pool.acquire(lane)
        try:
            await connection.execute(f"{self._begin_command()};{waiting}")
        except BaseException:
            # Cancelled on the way, it may have begun all the same, for this tenant and unknown to
            # asyncpg: the next one on this connection would work inside it.
            self._pool.discard(connection)
            raise
        self._connection = connection
        return connection

    def _begin_command(self) -> str:
        if self._one_snapshot:
            return f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;{_LET_GO}"
        return "BEGIN READ ONLY" if self._read_only else "BEGIN"

    async def _rollback(self, connection: TenantConnection) -> None:
        self._connection, self._waiting = None, ()
        try:
            async with asyncio.timeout(_ROLLBACK_SECONDS):
                await connection.execute("ROLLBACK")
        except FAILURES:
            # Lost or stuck: the server rolls back by itself, and the caller's own error goes on.
            self._pool.discard(connection)
        except BaseException:
            self._pool.discard(connection)
            raise
        else:
            self._pool.release(connection)


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
async def transaction(database: Database, *, read_only: bool = False) -> AsyncIterator[Transaction]:
    """For scripts, jobs and services: commits at the end of the block, rolls back on any error.
    Several repositories used inside share it: all or nothing. It cannot be nested, for an inner one
    would commit by itself; inside a request the request's own transaction is current."""
    if _current.get() is not None:
        raise RuntimeError("a transaction is open already: use it, or end it first")
    async with Transaction(database.app, read_only=read_only) as work:
        yield work
        await work.commit()


@asynccontextmanager
async def platform_transaction(database: Database) -> AsyncIterator[Transaction]:
    """The same as the platform role, which sees tenants but not their rows."""
    async with Transaction(database.platform) as work:
        yield work
        await work.commit()
