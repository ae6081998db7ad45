"""Connections that bind themselves: every transaction starts with its tenant, in one message."""

from datetime import date
from functools import lru_cache
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from saas import context
from saas.context import Principal, RequestOrigin
from saas.db.lanes import Place
from saas.errors import Unbound

_COMMAND_SECONDS = 60
# From which PostgreSQL counts days.
_DAY_ZERO = date(2000, 1, 1).toordinal()
_UNBIND = "SET LOCAL app.tenant_id='';SET LOCAL app.actor='';SET LOCAL statement_timeout TO DEFAULT"


class TenantConnection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg's class is untyped
    """A connection of the app role. BEGIN carries the tenant of the context with it, so no caller
    can forget it; without a tenant it raises Unbound before any SQL is sent."""

    bound_to: Principal | None = None
    lingers = False
    """Whether a read-only transaction is still open that its owner is done with."""
    idle_since = 0.0
    place: Place
    """Where it is out, in the lanes of the pool."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # Type introspection would call set_config('jit', …), which is revoked; jit is off anyway.
        self._server_caps: Any = self._server_caps._replace(jit=False)

    async def execute(
        self,
        query: str,
        *arguments: Any,
        timeout: float | None = None,  # noqa: ASYNC109 - asyncpg's own parameter
    ) -> str:
        if not arguments and query.startswith("BEGIN"):
            begin, _, rest = query.partition(";")
            settings = self._settings_sql("READ ONLY" in begin).rstrip(";")
            query = ";".join(filter(None, (begin, settings, rest)))
            if self.lingers:
                # One message: where the COMMIT fails, nothing behind it is carried out.
                self.lingers = False
                query = f"COMMIT;{query}"
        status: str = await super().execute(query, *arguments, timeout=timeout)
        return status

    async def end_lingering(self) -> None:
        """End the read-only transaction that was left open."""
        self.lingers = False
        await super().execute("COMMIT")

    async def rebind(self) -> None:
        """Called where the context holds another principal than the one that began."""
        raise Unbound("the transaction is bound to another principal than the context")

    def _settings_sql(self, read_only: bool) -> str:
        principal = context.principal_or_none()
        if principal is None:
            raise Unbound("a transaction began with no tenant bound")
        self.bound_to = principal
        return bind_tenant(principal, None if read_only else context.origin())


class PlatformConnection(TenantConnection):
    """A connection of the platform role, which has no grant on tenants' rows but what onboarding
    writes; it is bound when a principal is in the context, and works unbound."""

    _entered: UUID | None = None
    """The one tenant that the running transaction may be bound to, once it has been."""

    async def rebind(self) -> None:
        """Follow the context into a tenant and out of it again, in the middle of a transaction.
        Raises Unbound for a second tenant: one transaction, one tenant."""
        principal = context.principal_or_none()
        if principal is None:
            await super().execute(_UNBIND)
        elif self._entered in (None, principal.tenant_id):
            self._entered = principal.tenant_id
            await super().execute(bind_tenant(principal, context.origin()))
        else:
            await super().rebind()
        self.bound_to = principal

    def _settings_sql(self, read_only: bool) -> str:
        principal = context.principal_or_none()
        self._entered = principal.tenant_id if principal else None
        if principal is not None:
            return super()._settings_sql(read_only)
        self.bound_to = None
        return origin_sql(context.origin())


def bind_tenant(principal: Principal, origin: RequestOrigin | None) -> str:
    """The SET LOCAL statements for `principal`. SET LOCAL, never set_config: it reaches the
    workers of a Citus cluster, and set_config is revoked. Read-only transactions write no audit
    entry, so they carry no actor and origin (`origin` is None)."""
    tenant = _tenant_sql(principal.tenant_id, principal.statement_timeout_ms)
    if origin is None:
        return tenant
    return f"{tenant}SET LOCAL app.actor={_literal(principal.actor)};{origin_sql(origin)}"


@lru_cache(maxsize=4096)
def _tenant_sql(tenant_id: UUID, statement_timeout_ms: int) -> str:
    # str(UUID) is canonical text, and :d an integer: nothing here can be quoted out of.
    return (
        f"SET LOCAL app.tenant_id='{UUID(int=tenant_id.int)}';"
        f"SET LOCAL statement_timeout={statement_timeout_ms:d};"
    )


def origin_sql(origin: RequestOrigin) -> str:
    """The SET LOCAL statements for where a change comes from; none outside a request."""
    if origin.request_id:
        return (
            f"SET LOCAL app.request_id={_literal(origin.request_id)};"
            f"SET LOCAL app.ip={_literal(origin.ip)}"
        )
    return ""


def _literal(text: str) -> str:
    """A string literal; with standard_conforming_strings the quote is the one special character."""
    return "'" + text.replace("'", "''").replace("\x00", "") + "'"


async def connect(url: str, connection_class: type[TenantConnection]) -> TenantConnection:
    """A new connection for a pool. Where it cannot be made ready, the server is rid of it too."""
    connection: TenantConnection = await asyncpg.connect(
        url,
        connection_class=connection_class,
        # Every shape that the repository compiles stays prepared; the shapes are bounded.
        statement_cache_size=500,
        max_cached_statement_lifetime=0,
        server_settings={"application_name": "saas", "jit": "off"},
        timeout=10,
        # Above every statement_timeout: only a server that is gone or frozen is this late.
        command_timeout=_COMMAND_SECONDS,
    )
    try:
        await _prepare(connection)
    except BaseException:
        connection.terminate()
        raise
    return connection


async def _prepare(connection: asyncpg.Connection) -> None:
    """Make jsonb travel as Python values, and every date as itself: by itself asyncpg stores the
    last day of the calendar as `infinity`."""
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        encoder=lambda value: msgspec.json.encode(value).decode(),
        decoder=msgspec.json.decode,
    )
    await connection.set_type_codec(
        "date",
        schema="pg_catalog",
        format="tuple",
        encoder=lambda day: (day.toordinal() - _DAY_ZERO,),
        decoder=_date_of,
    )


def _date_of(encoded: tuple[int]) -> date:
    # Rows from before, and whatever else wrote `infinity`.
    ordinal = encoded[0] + _DAY_ZERO
    return date.fromordinal(min(max(ordinal, 1), date.max.toordinal()))
