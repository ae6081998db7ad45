"""Readers of an archive that are slow, or leave: each holds one connection, and not for ever."""

import asyncio
from contextvars import Context
from typing import Any

import httpx
import pytest

from saas.settings import Settings
from saas.web import streamed
from saas.web.telemetry import Edge


class Reader:
    """One request to the app as a server makes it, whose reader takes a piece at a time."""

    def __init__(self, app: Edge, path: str, key: str) -> None:
        self.messages: list[Any] = []
        self._may_take = asyncio.Event()
        self._has_left = asyncio.Event()
        self._has_come = asyncio.Event()
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": [(b"authorization", f"Bearer {key}".encode())],
            "client": ("127.0.0.1", 1),
            "server": ("test", 80),
            "state": {},
        }
        call = app(scope, self._receive, self._send)
        # The context of a request of its own, as on a server.
        self.call = asyncio.create_task(call, context=Context())

    async def _receive(self) -> Any:
        await self._has_left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self.messages.append(message)
        if message["type"] == "http.response.body":
            self._has_come.set()
            await self._may_take.wait()

    async def begun(self) -> "Reader":
        """Wait for the first piece, which the reader does not take."""
        await self._has_come.wait()
        return self

    async def leave(self) -> None:
        self._has_left.set()
        # The app looks for it when it is told next.
        await asyncio.sleep(0)
        self._may_take.set()
        await self.call

    async def finish(self) -> None:
        self._may_take.set()
        await self.call

    @property
    def has_end(self) -> bool:
        return self.messages[-1].get("more_body") is False


@pytest.fixture
def path(lived_in: Any) -> str:
    return f"/v1/admin/tenants/{lived_in.tenant_id}/export"


def exports_open(rows: Any) -> int:
    """How many transactions stand open in front of a reader."""
    found: int = rows(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE usename = 'saas_app' AND state = 'idle in transaction' AND query LIKE 'FETCH%%'"
    )[0][0]
    return found


async def test_reader_who_leaves_is_let_go_of_with_its_connection(
    app: Edge, http: httpx.AsyncClient, settings: Settings, path: str, here: Any
) -> None:
    reader = await Reader(app, path, str(settings.platform_key)).begun()
    assert exports_open(here) == 1

    await reader.leave()

    assert not reader.has_end
    assert exports_open(here) == 0


async def test_reader_who_takes_nothing_is_given_up_without_an_end(
    app: Edge,
    http: httpx.AsyncClient,
    settings: Settings,
    path: str,
    here: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streamed, "_STALLED_SECONDS", 0.05)
    reader = await Reader(app, path, str(settings.platform_key)).begun()

    # What a server must see to break the connection.
    with pytest.raises(Exception, match="after response started"):
        await reader.call

    assert not reader.has_end
    assert exports_open(here) == 0


async def test_more_readers_than_may_be_are_told_to_come_back(
    app: Edge, operator: Any, settings: Settings, path: str
) -> None:
    key = str(settings.platform_key)
    readers = [await Reader(app, path, key).begun() for _ in range(2)]

    refused = await operator.get(path)
    for reader in readers:
        await reader.finish()
    served = await operator.get(path)

    assert (refused.status_code, refused.headers["retry-after"]) == (503, "30")
    assert refused.headers["content-type"] == "application/problem+json"
    assert all(reader.has_end for reader in readers)
    assert served.status_code == 200
