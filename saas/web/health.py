"""Is the process alive, and may it be sent traffic. Without a credential, and without detail."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from saas.errors import Unavailable
from saas.web.answer import json_answer
from saas.web.described import described

_REMEMBERED_SECONDS = 1


class Health(msgspec.Struct, frozen=True):
    status: str = "ok"


def health_handlers(is_ready: Callable[[], Awaitable[bool]]) -> list[HTTPRouteHandler]:
    """`GET /livez` does no I/O; `GET /readyz` asks `is_ready`, 503 when it says no. An answer
    serves for a second, because anybody may ask."""
    remembered = _Remembered(is_ready)

    @get("/livez", **_described("livez", "Is the process alive", ()))
    async def livez() -> ASGIApp:
        return json_answer(Health())

    @get("/readyz", **_described("readyz", "May it be sent traffic", (503,)))
    async def readyz() -> ASGIApp:
        if not await remembered.ask():
            raise Unavailable("The database is away, or not as this version needs it.")
        return json_answer(Health())

    return [livez, readyz]


class _Remembered:
    """Asks at most once a second, one at a time."""

    def __init__(self, question: Callable[[], Awaitable[bool]]) -> None:
        self._question = question
        self._turn = asyncio.Lock()
        self._until = 0.0
        self._answer = False

    async def ask(self) -> bool:
        async with self._turn:
            if time.monotonic() >= self._until:
                self._answer = await self._question()
                self._until = time.monotonic() + _REMEMBERED_SECONDS
            return self._answer


def _described(name: str, summary: str, refusals: tuple[int, ...]) -> dict[str, Any]:
    return described(
        f"operations.{name}", summary, plane="open", success=200, body=Health, refusals=refusals
    )
