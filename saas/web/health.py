"""Is the process alive, and may it be sent traffic. Without a credential, and without detail."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from saas.errors import Unavailable
from saas.web.answer import json_answer
from saas.web.described import described


class Health(msgspec.Struct, frozen=True):
    status: str = "ok"


def health_handlers(is_ready: Callable[[], Awaitable[bool]]) -> list[HTTPRouteHandler]:
    """`GET /livez` does no I/O; `GET /readyz` asks `is_ready`, 503 when it says no."""

    @get("/livez", **_described("livez", "Is the process alive", ()))
    async def livez() -> ASGIApp:
        return json_answer(Health())

    @get("/readyz", **_described("readyz", "May it be sent traffic", (503,)))
    async def readyz() -> ASGIApp:
        if not await is_ready():
            raise Unavailable("The database is away, or not as this version needs it.")
        return json_answer(Health())

    return [livez, readyz]


def _described(name: str, summary: str, refusals: tuple[int, ...]) -> dict[str, Any]:
    return described(
        f"operations.{name}", summary, plane="open", success=200, body=Health, refusals=refusals
    )
