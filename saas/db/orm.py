"""Async ORM sessions: SQLAlchemy's AsyncSession over connections that bind themselves."""

from typing import Any

import asyncpg
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)

from saas import context
from saas.db.connection import TenantConnection
from saas.db.error_mapping import refusal_for
from saas.db.orm_session import TenantSession
from saas.db.scoping import SessionScoping, scoped_dialect


class _OrmConnection(TenantConnection):
    def transaction(self, **options: Any) -> Any:
        # Before asyncpg takes note of a transaction that then cannot begin.
        context.principal()
        return super().transaction(**options)


def async_engine(url: str, **options: Any) -> AsyncEngine:
    """An engine of the app role at `url`, a libpq address. Every transaction is bound to the
    principal of the moment in its BEGIN, and every statement is held to its tenant. `options` are
    those of create_async_engine. Its refusals are the SaasErrors of the repository."""

    async def connect() -> Any:
        return await asyncpg.connect(
            url,
            connection_class=_OrmConnection,
            server_settings={"application_name": "saas", "jit": "off"},
            timeout=10,
            command_timeout=60,
        )

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, **options)
    scoped_dialect(engine.sync_engine.dialect, SessionScoping)
    event.listen(engine.sync_engine, "handle_error", refusal_of)
    return engine


def async_sessions(engine: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    """Makes sessions, one for each piece of work of one tenant: `async with sessions.begin()`."""
    return async_sessionmaker(engine, sync_session_class=TenantSession, expire_on_commit=False)


def refusal_of(failed: ExceptionContext) -> Exception | None:
    """For the engine's `handle_error`: the SaasError for what the database refuses."""
    if failed.sqlalchemy_exception is None:
        return None
    original: Any = failed.original_exception
    # SQLAlchemy wraps asyncpg's own error once more.
    cause = (
        original.__cause__ if isinstance(original.__cause__, asyncpg.PostgresError) else original
    )
    refusal = refusal_for(cause)
    return None if refusal is cause else refusal
