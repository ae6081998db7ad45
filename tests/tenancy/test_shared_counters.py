"""Rate limits that several processes share, and what is left of them when the server is away."""

import asyncio
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from signal import SIGCONT, SIGSTOP

import msgspec
import pytest

from saas.app import create_app
from saas.errors import ConfigurationError
from saas.settings import Settings
from saas.tenancy import shared_counters
from saas.tenancy.rate_counters import Bucket, OwnCounters
from saas.tenancy.rate_limits import RateLimits
from saas.tenancy.shared_counters import SharedCounters

PROGRAM = shutil.which("valkey-server") or shutil.which("redis-server")
needs_server = pytest.mark.skipif(
    PROGRAM is None, reason="neither valkey-server nor redis-server is installed"
)
# Nothing listens there.
NOWHERE = "redis://127.0.0.1:1/0"
# So slow that no machine can earn much of it back while a test runs.
BUCKET = Bucket(1, 20)


class Server:
    """A Redis or Valkey of the test's own, on a socket."""

    def __init__(self, folder: Path) -> None:
        self.url = f"unix://{folder}/socket"
        self._socket = folder / "socket"
        self.start()

    def start(self) -> None:
        command = [str(PROGRAM), "--port", "0", "--save", "", "--unixsocket", str(self._socket)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while not self._socket.exists():
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.02)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self._socket.unlink(missing_ok=True)


@pytest.fixture
def server() -> Iterator[Server]:
    # Not pytest's folder: the path of a socket must be short.
    with tempfile.TemporaryDirectory() as folder:
        made = Server(Path(folder))
        yield made
        made.stop()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow machine is no server that is away."""
    monkeypatch.setattr(shared_counters, "_TIMEOUT_SECONDS", 20)


async def served(counters: OwnCounters | SharedCounters, times: int) -> int:
    return sum([not (await counters.take(BUCKET, "key")).limited for _ in range(times)])


@needs_server
@pytest.mark.usefixtures("patient")
async def test_two_nodes_share_one_count(server: Server) -> None:
    nodes = [SharedCounters(server.url) for _ in range(2)]

    done = [await served(node, 20) for node in nodes]
    alone = [await served(OwnCounters(), 20) for _ in nodes]

    assert done[0] == 20
    assert done[1] < 20
    # The control: counted apart, each has all.
    assert alone == [20, 20]
    for node in nodes:
        await node.close()


@needs_server
@pytest.mark.usefixtures("patient")
async def test_a_node_counts_for_itself_while_the_server_is_away(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_counters, "_PAUSE_SECONDS", 0.05)
    node = SharedCounters(server.url)
    assert await served(node, 20) == 20

    server.stop()
    # It has lost what was counted, and goes on counting.
    assert 20 <= await served(node, 60) < 60
    server.start()
    await asyncio.sleep(0.1)
    assert await served(node, 60) >= 20
    other = SharedCounters(server.url)
    assert await served(other, 20) < 20

    for one in (node, other):
        await one.close()


@needs_server
async def test_a_server_that_says_nothing_costs_one_request_a_moment(server: Server) -> None:
    node = SharedCounters(server.url)
    await node.take(BUCKET, "key")

    server.process.send_signal(SIGSTOP)
    try:
        # Hundreds of waits of a quarter of a second each would not fit into that time.
        async with asyncio.timeout(20):
            assert await served(node, 500) < 500
    finally:
        server.process.send_signal(SIGCONT)
    await node.close()


async def test_the_api_serves_and_limits_while_the_server_is_away(
    on_plan, serve, settings: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    tenant = await on_plan(requests_per_second=2)
    shared = msgspec.structs.replace(settings, redis_url=NOWHERE)

    async with serve(create_app(shared)) as http:
        caller = type(tenant)(http, tenant.key, tenant.body)
        answers = [await caller.get("/v1/projects") for _ in range(40)]

    statuses = [answer.status_code for answer in answers]
    assert statuses[:2] == [200, 200]
    assert set(statuses) == {200, 429}
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    lost = [line for line in lines if line["event"] == "rate_limits_not_shared"]
    assert [(line["level"], line["reason"]) for line in lost] == [("warning", "ConnectionError")]


def test_an_address_that_is_none_is_told_at_the_start(settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="SAAS_REDIS_URL"):
        create_app(msgspec.structs.replace(settings, redis_url="http://localhost"))


async def test_limits_hold_over_whatever_counts() -> None:
    limits = RateLimits(SharedCounters(NOWHERE))

    standings = [await limits.take("tenant", "caller", 1) for _ in range(3)]

    assert standings[0].retry_after == 0
    assert standings[-1].retry_after == 1
