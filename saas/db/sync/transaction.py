"""The unit of work of a thread: the twin of `saas/db/transaction.py`, with the same rules."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, Token
from threading import RLock
from typing import Any

from saas import context
from saas.db.error_mapping import FAILURES, refusal_for
from saas.db.statements import Statement
from saas.db.sync.connection import TenantConnection
from saas.db.sync.database import Database, Pool
from saas.errors import Unavailable, Unbound


class Transaction:
    """A unit of work on one connection, current inside its `with` block and for its thread.

    It takes a connection and begins at the first statement, bound to the principal of that moment,
    and refuses to go on under another one. Whoever runs the block commits; what is not committed at
    its end is rolled back.
    """

    __slots__ = ("_connection", "_is_over", "_pool", "_read_only", "_streams", "_token", "turn")

    def __init__(self, pool: Pool, *, read_only: bool = False) -> None:
        self._pool = pool
        self._read_only = read_only
        self._connection: TenantConnection | None = None
        self._token: Token[Transaction | None] | None = None
        self.turn = RLock()
        """Held while a statement runs, or statements that belong together."""
        self._is_over = False
        self._streams = 0

    def __enter__(self) -> "Transaction":
        self._token = _current.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        with self.turn:
            self._is_over = True
            if self._token is not None:
                _current.reset(self._token)
            if self._connection is not None:
                self._rollback(self._connection)

    def fetch(self, sql: str, values: Mapping[str, Any] | None = None) -> Sequence[Any]:
        """Run one statement with `%(name)s` parameters and return its rows. Raises a SaasError for
        what the database refuses, Unbound after the end or under another principal."""
        with self.turn:
            try:
                connection = self._connection or self._begin()
                if connection.bound_to is not context.principal_or_none():
                    # One tenant per transaction: a principal entered since must not act here.
                    raise Unbound("the transaction is bound to another principal than the context")
                cursor = connection.execute(sql.encode(), values)
                return cursor.fetchall() if cursor.description else []
            except FAILURES as error:
                raise refusal_for(error) from error

    def run(self, statement: Statement, values: Mapping[str, Any]) -> Sequence[Any]:
        """Run a compiled statement with its parameters by name; else like `fetch`."""
        return self.fetch(statement.named.sql, statement.named.arguments(values))

    def next_stream(self) -> int:
        """A number for one more cursor of this transaction."""
        self._streams += 1
        return self._streams

    def commit(self) -> None:
        """End the work for good. A constraint that only fails now raises like one before."""
        with self.turn:
            self._is_over = True
            connection = self._connection
            if connection is None:
                return
            try:
                answer = connection.send("COMMIT")
            except FAILURES as error:
                raise refusal_for(error) from error
            if answer != "COMMIT":
                # A caught error had already aborted it: PostgreSQL answers COMMIT with ROLLBACK.
                raise Unavailable("The transaction had failed and was rolled back.")
            self._connection = None
            self._pool.putconn(connection)

    def _begin(self) -> TenantConnection:
        if self._is_over:
            # What came now would be rolled back unseen.
            raise Unbound("the transaction has ended: open one with transaction(...)")
        connection = self._pool.getconn()
        try:
            connection.begin(read_only=self._read_only)
        except Unbound:
            self._pool.putconn(connection)
            raise
        except BaseException:
            self._throw_away(connection)
            raise
        self._connection = connection
        return connection

    def _rollback(self, connection: TenantConnection) -> None:
        self._connection = None
        try:
            connection.send("ROLLBACK")
        except FAILURES:
            # Lost: the server rolls back by itself, and the caller's own error goes on.
            self._throw_away(connection)
        except BaseException:
            self._throw_away(connection)
            raise
        else:
            self._pool.putconn(connection)

    def _throw_away(self, connection: TenantConnection) -> None:
        """Interrupted on the way, its state is unknown; the pool replaces a closed one."""
        connection.close()
        self._pool.putconn(connection)


_current: ContextVar[Transaction | None] = ContextVar("sync_transaction", default=None)


def current_transaction() -> Transaction:
    """The transaction of the running `transaction()` block of this thread; Unbound without one."""
    current = _current.get()
    if current is None:
        raise Unbound("no transaction is open: enter transaction(...)")
    return current


@contextmanager
def transaction(database: Database, *, read_only: bool = False) -> Iterator[Transaction]:
    """Commits at the end of the block, rolls back on any error. Several repositories used inside
    share it: all or nothing. It cannot be nested, for an inner one would commit by itself."""
    if _current.get() is not None:
        raise RuntimeError("a transaction is open already: use it, or end it first")
    with Transaction(database.app, read_only=read_only) as work:
        yield work
        work.commit()


@contextmanager
def platform_transaction(database: Database) -> Iterator[Transaction]:
    """The same as the platform role, which sees tenants but not their rows."""
    with Transaction(database.platform) as work:
        yield work
        work.commit()
