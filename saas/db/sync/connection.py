"""Connections of psycopg that bind themselves: the twin of `saas/db/connection.py`.

They are in psycopg's autocommit mode, so that the driver sends no BEGIN of its own: `begin` is the
one way into a transaction, and carries the tenant in the same message.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import psycopg
from psycopg.rows import no_result
from psycopg.types.json import set_json_loads

from saas import context
from saas.context import Principal
from saas.db.connection import bind_tenant, origin_sql
from saas.errors import Unbound


class Row(tuple[Any, ...]):
    """A row by position and by name of the column, as asyncpg gives it."""

    _places: Mapping[str, int]

    def __getitem__(self, key: Any) -> Any:
        return tuple.__getitem__(self, self._places[key] if isinstance(key, str) else key)

    def keys(self) -> tuple[str, ...]:
        return tuple(self._places)


def rows_by_name(cursor: psycopg.Cursor[Any]) -> Callable[[Sequence[Any]], Row]:
    """psycopg's row factory for `Row`."""
    if cursor.description is None:
        return no_result
    places = {column.name: place for place, column in enumerate(cursor.description)}
    return type("Row", (Row,), {"_places": places})


class TenantConnection(psycopg.Connection[Row]):
    """A connection of the app role. Without a tenant, `begin` raises Unbound before any SQL."""

    bound_to: Principal | None = None

    def begin(self, *, read_only: bool = False) -> None:
        """Begin a transaction that is bound to the principal of the context."""
        mode = " READ ONLY" if read_only else ""
        self.send(f"BEGIN{mode};{self._settings_sql(read_only)}")

    def send(self, sql: str) -> str:
        """Send statements without parameters as one message; the server's last answer."""
        # Never prepared: several statements in one message cannot be.
        return self.execute(sql.encode(), prepare=False).statusmessage or ""

    def _settings_sql(self, read_only: bool) -> str:
        principal = context.principal_or_none()
        if principal is None:
            raise Unbound("a transaction began with no tenant bound")
        self.bound_to = principal
        return bind_tenant(principal, None if read_only else context.origin())


class PlatformConnection(TenantConnection):
    """A connection of the platform role: bound when a principal is in the context, and working
    unbound."""

    def _settings_sql(self, read_only: bool) -> str:
        if context.principal_or_none() is not None:
            return super()._settings_sql(read_only)
        self.bound_to = None
        return origin_sql(context.origin())


OPTIONS: Mapping[str, Any] = {
    "autocommit": True,
    "row_factory": rows_by_name,
    "connect_timeout": 10,
    "application_name": "saas",
    # UTC, so that times are equal to those that asyncpg gives.
    "options": "-c jit=off -c TimeZone=UTC",
}
"""How every connection is made."""


def prepare_connection(connection: psycopg.Connection[Any]) -> None:
    """Called once for each new connection of a pool."""
    set_json_loads(msgspec.json.decode, connection)


def refuse_lost(connection: psycopg.Connection[Any]) -> None:
    """The pool's check before it hands a connection out: one whose server has gone raises, and is
    replaced. It looks at what has arrived and asks nothing, so it costs no round trip."""
    for _ in ("the server's last words", "the end of the connection behind them"):
        connection.pgconn.consume_input()
