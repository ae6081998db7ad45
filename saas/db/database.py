"""The two pools of one process: tenants' data, and the platform's."""

from saas.db.connection import PlatformConnection, TenantConnection
from saas.db.pool import Pool
from saas.errors import ConfigurationError


class Database:
    """Both pools; open in the app's lifespan and closed with it, or as a context manager. Only who
    acts as the platform needs `platform_url`. `tenant_size` is how many connections of `size` one
    tenant has at most beside others; None lets it have all, as a script of one tenant wants."""

    def __init__(
        self,
        app_url: str,
        platform_url: str | None = None,
        *,
        size: int = 10,
        acquire_timeout_seconds: float = 5,
        tenant_size: int | None = None,
    ) -> None:
        self.app = Pool(
            app_url,
            TenantConnection,
            size=size,
            acquire_timeout_seconds=acquire_timeout_seconds,
            lane_size=tenant_size,
        )
        self._platform = platform_url and Pool(
            platform_url,
            PlatformConnection,
            size=max(2, size // 5),
            acquire_timeout_seconds=acquire_timeout_seconds,
        )

    @property
    def platform(self) -> Pool:
        """Raises ConfigurationError without a `platform_url`."""
        if not self._platform:
            raise ConfigurationError("Database(…) was given no platform_url")
        return self._platform

    async def __aenter__(self) -> "Database":
        await self.app.open()
        if self._platform:
            await self._platform.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self.app.close()
        finally:
            if self._platform:
                await self._platform.close()
