"""The two pools of one process: tenants' data, and the platform's."""

from saas.db.connection import PlatformConnection, TenantConnection
from saas.db.pool import Pool


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
        try:
            await self.app.close()
        finally:
            await self.platform.close()
