"""Small Litestar apps behind the real edge, called in process, each request in its own context."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from contextvars import Context
from typing import Any

import httpx
from litestar import Litestar
from litestar.types import ControllerRouterHandler

from saas.web.docs import docs_routes, openapi_config
from saas.web.logs import output
from saas.web.metrics import Metrics
from saas.web.problems import exception_handlers
from saas.web.strict_request import StrictRequest
from saas.web.telemetry import Edge


class Log:
    """The JSON lines written so far."""

    def __init__(self) -> None:
        self.stream = io.BytesIO()

    @property
    def lines(self) -> list[dict[str, Any]]:
        output.flush()
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


class _FreshContext(httpx.AsyncBaseTransport):
    def __init__(self, app: Any) -> None:
        self._inner = httpx.ASGITransport(app)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        call = self._inner.handle_async_request(request)
        return await asyncio.create_task(call, context=Context())


def scratch_app(routes: Sequence[ControllerRouterHandler]) -> Litestar:
    return Litestar(
        [*routes, *docs_routes],
        exception_handlers=exception_handlers,
        request_class=StrictRequest,
        openapi_config=openapi_config("Scratch", "1"),
        logging_config=None,
    )


def edge(app: Any, metrics: Metrics | None = None) -> Any:
    return Edge(app, access_log=True, metrics=metrics or Metrics())


def client_of(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=_FreshContext(app), base_url="http://test")


@asynccontextmanager
async def serving(
    routes: Sequence[ControllerRouterHandler], metrics: Metrics | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an app with `routes`. Behind the edge, whose numbers `metrics` gets."""
    app = scratch_app(routes)
    async with app.lifespan(), client_of(edge(app, metrics)) as http:
        yield http


async def call(
    app: Any,
    method: str = "GET",
    path: str = "/",
    received: Sequence[dict[str, Any]] = (),
    **more: Any,
) -> list[dict[str, Any]]:
    """Call an ASGI app by hand; after `received` the client is gone. Gives what it sent."""
    messages, sent = iter(received), []

    async def receive() -> dict[str, Any]:
        return next(messages, {"type": "http.disconnect"})

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": [], "query_string": b""}
    await app(scope | more, receive, send)
    return sent
