"""The pools of one process: one for tenants' data, one for the platform."""

from typing import Any

import asyncpg

from saas.db.connection import PlatformConnection, TenantConnection, prepare_connection
from saas.errors import ConfigurationError, Unavailable


class Pool:
    """A pool of self-binding connections that refuses in time instead of queueing for ever."""

    def __init__(
        self,
        url: str,
        connection_class: type[TenantConnection],
        *,
        size: int,
        acquire_timeout_seconds: float,
    ) -> None:
        self._url = url
        self._connection_class = connection_class
        self._size = size
        self._acquire_timeout_seconds = acquire_timeout_seconds
        self._pool: Any = None

    async def open(self) -> None:
        """Raises ConfigurationError when the server can't be reached."""
        try:
            self._pool = await asyncpg.create_pool(
                self._url,
                min_size=1,
                max_size=self._size,
                connection_class=self._connection_class,
                init=prepare_connection,
                # Every shape that the repository compiles stays prepared; the shapes are bounded.
                statement_cache_size=500,
                max_cached_statement_lifetime=0,
                max_inactive_connection_lifetime=300,
                server_settings={"application_name": "saas", "jit": "off"},
                timeout=10,
            )
        except (OSError, TimeoutError, asyncpg.PostgresError, ValueError) as error:
            raise ConfigurationError(f"cannot connect to the database: {error}") from error

    async def acquire(self) -> Any:
        """A connection with no transaction open. Raises Unavailable when none is free in time."""
        try:
            return await self._pool.acquire(timeout=self._acquire_timeout_seconds)
        except TimeoutError:
            raise Unavailable("Every database connection is busy.") from None

    async def release(self, connection: Any) -> None:
        if connection.is_in_transaction():
            # A connection that comes back inside a transaction is in an unknown state.
            connection.terminate()
        await self._pool.release(connection)

    async def close(self) -> None:
        await self._pool.close()


class Database:
    """Both pools; open in the app's lifespan and closed with it, or as a context manager."""

    def __init__(
        self,
        app_url: str,
        platform_url: str,
        *,
        size: int = 10,
        acquire_timeout_seconds: float = 5,
    ) -> None:
        self.app = Pool(
            app_url,
            TenantConnection,
            size=size,
            acquire_timeout_seconds=acquire_timeout_seconds,
        )
        self.platform = Pool(
            platform_url,
            PlatformConnection,
            size=max(2, size // 5),
            acquire_timeout_seconds=acquire_timeout_seconds,
        )

    async def __aenter__(self) -> "Database":
        await self.app.open()
        await self.platform.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.app.close()
        await self.platform.close()
