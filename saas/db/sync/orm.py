"""ORM sessions for threads: SQLAlchemy's Session on connections that bind themselves."""

from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.orm import sessionmaker

from saas.db.orm import refusal_of
from saas.db.orm_session import TenantSession
from saas.db.scoping import SessionScoping, scoped_dialect
from saas.db.sync.connection import OPTIONS, TenantConnection


def sync_engine(url: str, **options: Any) -> Engine:
    """The twin of `saas.db.orm.async_engine`; `options` are those of create_engine."""
    # SQLAlchemy reads rows by position.
    connection_options = {**OPTIONS, "row_factory": None}

    def connect() -> TenantConnection:
        return TenantConnection.connect(url, **connection_options)

    engine = create_engine("postgresql+psycopg://", creator=connect, **options)
    scoped_dialect(engine.dialect, SessionScoping)
    event.listen(engine, "begin", _begin)
    event.listen(engine, "handle_error", refusal_of)
    return engine


def sync_sessions(engine: Engine) -> sessionmaker[TenantSession]:
    """Makes sessions, one for each piece of work of one tenant: `with sessions.begin()`."""
    return sessionmaker(engine, class_=TenantSession, expire_on_commit=False)


def _begin(connection: Connection) -> None:
    # The driver is in autocommit mode and sends no BEGIN; its commit and rollback end ours.
    driver: Any = connection.connection.driver_connection
    driver.begin()
