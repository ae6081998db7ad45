"""Is the process alive, and may it be sent traffic. Without a credential, and without detail."""

from collections.abc import Awaitable, Callable

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from saas.errors import Unavailable
from saas.web.answer import json_answer


def health_handlers(is_ready: Callable[[], Awaitable[bool]]) -> list[HTTPRouteHandler]:
    """`GET /livez` does no I/O; `GET /readyz` asks `is_ready`, 503 when it says no."""

    @get("/livez", opt={"plane": "open"}, tags=["operations"])
    async def livez() -> ASGIApp:
        return json_answer({"status": "ok"})

    @get("/readyz", opt={"plane": "open"}, tags=["operations"])
    async def readyz() -> ASGIApp:
        if not await is_ready():
            raise Unavailable("The database is away, or not as this version needs it.")
        return json_answer({"status": "ok"})

    return [livez, readyz]
