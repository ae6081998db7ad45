"""A server of two workers under mixed load, and a hand count of what it was asked: all of it is in
the figures after a stop, and after a kill all but what the killed worker had not written yet."""

import asyncio
import os
import random
import re
import signal
from collections import Counter
from typing import Any

import httpx
import msgspec
import psycopg
import pytest
from figures import counted_in, true_in
from psycopg.rows import dict_row

from live_server import running, with_database
from processes import is_serve, processes_of
from saas.dev.postgres import EmbeddedPostgres
from saas.settings import Settings

pytestmark = pytest.mark.long

TENANTS, AT_ONCE = 20, 16
_ID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ASKED = """SELECT tenant::text, route, status, sum(requests)::int AS requests,
  sum(bytes_in)::int AS bytes_in, sum(bytes_out)::int AS bytes_out
FROM usage_requests GROUP BY tenant, route, status"""


class Tenant:
    """One that is asked for at random, and what it has answered, counted by hand."""

    def __init__(self, onboarded: dict[str, Any], seed: int) -> None:
        self.id = str(onboarded["tenant"]["id"])
        self.asked: Counter[tuple[str, int]] = Counter()
        self.bytes: Counter[tuple[str, int, str]] = Counter()
        self.unknown = 0
        self.live = 0
        self.events = 0
        self._headers = {"Authorization": f"Bearer {onboarded['api_key']['key']}"}
        self._random = random.Random(seed)
        self._ids: list[str] = []

    async def ask(self, http: httpx.AsyncClient) -> None:
        """One request of some kind."""
        self._http = http
        kinds = (self._create, self._read, self._list, self._change, self._delete, self._fail)
        kind = self._random.choice((*kinds, self._batch, self._count))
        try:
            await kind()
        except httpx.TransportError:
            self.unknown += 1

    async def _create(self) -> None:
        name = f"Project {self._random.getrandbits(60)}"
        answer = await self._send("POST", "/v1/projects", {"name": name})
        self._ids.append(answer.json()["id"])
        self.live += 1

    async def _batch(self) -> None:
        names = [f"Batch {self._random.getrandbits(60)}" for _ in range(3)]
        items = [{"op": "create", "data": {"name": name}} for name in names]
        answer = await self._send("POST", "/v1/projects/batch", {"mode": "atomic", "items": items})
        self._ids += [result["id"] for result in answer.json()["results"]]
        self.live += 3

    async def _read(self) -> None:
        await self._send("GET", self._one())

    async def _list(self) -> None:
        await self._send("GET", "/v1/projects?limit=5")

    async def _change(self) -> None:
        await self._send("PATCH", self._one(), {"budget_cents": self._random.getrandbits(20)})

    async def _delete(self) -> None:
        if self._ids:
            id = self._ids.pop(self._random.randrange(len(self._ids)))
            await self._send("DELETE", f"/v1/projects/{id}")
            self.live -= 1

    async def _fail(self) -> None:
        await self._send("POST", "/v1/projects", {"name": 1})

    async def _count(self) -> None:
        key = str(self._random.getrandbits(60))
        event = {"meter": "mails", "quantity": 2, "idempotency_key": key}
        await self._send("POST", "/v1/usage/events", {"events": [event]})
        self.events += 1

    def _one(self) -> str:
        return f"/v1/projects/{self._random.choice([*self._ids[-5:], self.id])}"

    async def _send(self, method: str, path: str, json: Any = None) -> httpx.Response:
        answer = await self._http.request(method, path, json=json, headers=self._headers)
        route = _ID.sub("{id}", path.partition("?")[0])
        key = (route, answer.status_code // 100)
        self.asked[key] += 1
        self.bytes[*key, "in"] += len(answer.request.content)
        self.bytes[*key, "out"] += len(answer.content)
        return answer


async def test_figures_are_those_of_a_hand_count_also_after_a_kill(
    postgres: EmbeddedPostgres, settings: Settings
) -> None:
    two = msgspec.structs.replace(settings, workers=2, usage_seconds=0.5)
    wanted = with_database(postgres, two, "usage_live")
    url = postgres.dsn(postgres.superuser, "usage_live")

    with running(wanted) as address:
        async with _client(address) as http:
            tenants = [Tenant(await _onboard(http, wanted, n), n) for n in range(TENANTS)]
            await _load(http, tenants, 3_500)
    with psycopg.connect(url, autocommit=True, row_factory=dict_row) as database:
        _assert_all_is_written(database, tenants)
        _assert_rows_are_right(database, tenants)
    first = _answered(tenants)

    with running(wanted) as address:
        async with _client(address) as http:
            loading = asyncio.create_task(_load(http, tenants, 1_000))
            await asyncio.sleep(0.5)
            os.kill(_workers(wanted)[-1], signal.SIGKILL)
            await loading
            at_kill = _answered(tenants)
            await _load(http, tenants, 500)
    with psycopg.connect(url, autocommit=True, row_factory=dict_row) as database:
        _assert_rows_are_right(database, tenants)
        written = sum(row["requests"] for row in database.execute(_ASKED))
    answered, unknown = _answered(tenants), sum(tenant.unknown for tenant in tenants)
    assert first < at_kill < answered
    # What the others counted, and what was asked after the kill, is there.
    assert first + answered - at_kill <= written <= answered + unknown


def _client(url: str) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=2 * AT_ONCE, max_keepalive_connections=2 * AT_ONCE)
    return httpx.AsyncClient(base_url=url, limits=limits, timeout=30)


async def _onboard(http: httpx.AsyncClient, settings: Settings, number: int) -> dict[str, Any]:
    owner = {"email": f"owner@t{number}.test", "name": "Owner"}
    wish = {"slug": f"tenant-{number}", "name": "T", "plan": "enterprise", "owner": owner}
    headers = {"Authorization": f"Bearer {settings.platform_key}"}
    answer = await http.post("/v1/admin/tenants", json=wish, headers=headers)
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def _load(http: httpx.AsyncClient, tenants: list[Tenant], requests: int) -> None:
    """So many requests, of the tenants in turn, some at once; of each tenant one at a time."""
    left = iter(range(requests))

    async def caller(own: list[Tenant]) -> None:
        for number in left:
            await own[number % len(own)].ask(http)

    # Each caller has tenants of its own: a row that one deletes no other one changes.
    await asyncio.gather(*(caller(tenants[n::AT_ONCE]) for n in range(AT_ONCE)))


def _workers(settings: Settings) -> list[int]:
    found = [p for p in processes_of(settings.data_path) if is_serve(p)]
    (server,) = [p for p in found if p.parent == os.getpid()]
    return sorted(p.pid for p in found if p.parent == server.pid)


def _answered(tenants: list[Tenant]) -> int:
    return sum(sum(tenant.asked.values()) for tenant in tenants)


def _assert_all_is_written(database: Any, tenants: list[Tenant]) -> None:
    own = {tenant.id for tenant in tenants}
    rows = [row for row in database.execute(_ASKED) if row["tenant"] in own]
    for tenant in tenants:
        of_it = {(r["route"], r["status"]): r for r in rows if r["tenant"] == tenant.id}
        assert {key: row["requests"] for key, row in of_it.items()} == dict(tenant.asked)
        for key, row in of_it.items():
            sizes = tenant.bytes[*key, "in"], tenant.bytes[*key, "out"]
            assert (row["bytes_in"], row["bytes_out"]) == sizes
    assert sum(tenant.unknown for tenant in tenants) == 0


def _assert_rows_are_right(database: Any, tenants: list[Tenant]) -> None:
    for tenant in tenants:
        found = counted_in(database, tenant.id)
        assert found == true_in(database, tenant.id)
        events = database.execute(_EVENTS, {"tenant": tenant.id}).fetchone()
        assert events["told"] == events["counted"]
        if not tenant.unknown:
            assert found.held["projects"]["live"] == tenant.live
            assert events["counted"] == 2 * tenant.events


_EVENTS = """SELECT
  (SELECT coalesce(sum(quantity), 0) FROM usage_events WHERE tenant_id = %(tenant)s) AS told,
  (SELECT coalesce(sum(quantity), 0) FROM (
    SELECT tenant, quantity FROM usage_meters
    UNION ALL SELECT tenant, quantity FROM usage_meter_changes) AS had
   WHERE tenant = %(tenant)s) AS counted"""
