"""The two pools of a process that uses threads: tenants' data, and the platform's."""

import psycopg
from psycopg_pool import ConnectionPool

from saas.db.sync.connection import (
    OPTIONS,
    PlatformConnection,
    TenantConnection,
    prepare_connection,
    refuse_lost,
)
from saas.errors import ConfigurationError

Pool = ConnectionPool[TenantConnection]

_CLOSE_SECONDS = 5


class Database:
    """Both pools, as a context manager; shared by all threads. Only who acts as the platform needs
    `platform_url`."""

    def __init__(
        self,
        app_url: str,
        platform_url: str | None = None,
        *,
        size: int = 10,
        acquire_timeout_seconds: float = 5,
    ) -> None:
        self.app = _pool(app_url, TenantConnection, size, acquire_timeout_seconds)
        self._platform = platform_url and _pool(
            platform_url, PlatformConnection, max(2, size // 5), acquire_timeout_seconds
        )

    @property
    def platform(self) -> Pool:
        """Raises ConfigurationError without a `platform_url`."""
        if not self._platform:
            raise ConfigurationError("Database(…) was given no platform_url")
        return self._platform

    def __enter__(self) -> "Database":
        for pool in self._pools():
            _open(pool)
        return self

    def __exit__(self, *_: object) -> None:
        for pool in self._pools():
            pool.close(timeout=_CLOSE_SECONDS)

    def _pools(self) -> list[Pool]:
        return [self.app, self._platform] if self._platform else [self.app]


def _pool(
    url: str, connection_class: type[TenantConnection], size: int, acquire_timeout_seconds: float
) -> Pool:
    return ConnectionPool(
        url,
        connection_class=connection_class,
        kwargs=dict(OPTIONS),
        configure=prepare_connection,
        check=refuse_lost,
        min_size=0,
        max_size=size,
        timeout=acquire_timeout_seconds,
        open=False,
    )


def _open(pool: Pool) -> None:
    # The pool itself would go on trying for a while, and then only say that none came.
    try:
        psycopg.connect(str(pool.conninfo), connect_timeout=10).close()
    except psycopg.Error as error:
        raise ConfigurationError(f"cannot connect to the database: {error}") from error
    pool.open()
