"""One bounded run of wrk, and what it measured."""

import os
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from tests.bench.errors import BenchError

SCRIPT = Path(__file__).with_name("load.lua")
PACED = Path(__file__).with_name("paced.lua")
TIMEOUT_SECONDS = 10
# Further apart than one run can count, so no run repeats a number of another one.
NUMBERS_PER_SECOND = 100_000


class Load(msgspec.Struct, frozen=True):
    """`refused` counts answers of 400 and more, `unanswered` broken and timed-out requests."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    received_bytes: int
    refused: int
    unanswered: int

    @property
    def requests_per_second(self) -> float:
        return self.requests / self.seconds


def run(base_url: str, requests: Path, *, seconds: int, connections: int, core: int | None) -> Load:
    """Load the server for `seconds`. Raises BenchError unless every request was answered well."""
    pin = None if core is None else partial(os.sched_setaffinity, 0, {core})
    load = _measure(_command(SCRIPT, base_url, requests, seconds, connections), seconds, pin)
    return _require_good(load, requests)


def run_paced(base_url: str, requests: Path, *, seconds: int, connections: int) -> Load:
    """The same, unpinned, with a pause between the requests of a connection."""
    load = _measure(_command(PACED, base_url, requests, seconds, connections), seconds)
    return _require_good(load, requests)


def flood(base_url: str, requests: Path, *, seconds: int, connections: int) -> Load:
    """The same without a pause, and whatever the answers are."""
    return _measure(_command(SCRIPT, base_url, requests, seconds, connections), seconds)


def _command(
    script: Path, base_url: str, requests: Path, seconds: int, connections: int
) -> list[str]:
    number = int(time.time()) * NUMBERS_PER_SECOND
    return [
        *("wrk", "--threads", "1", "--connections", str(connections)),
        *("--duration", f"{seconds}s", "--timeout", f"{TIMEOUT_SECONDS}s"),
        *("--script", str(script), base_url, "--", str(requests), str(number)),
    ]


def _measure(command: list[str], seconds: int, pin: Callable[[], None] | None = None) -> Load:
    try:
        ended = subprocess.run(
            command,
            preexec_fn=pin,
            capture_output=True,
            text=True,
            timeout=seconds + 3 * TIMEOUT_SECONDS,
            check=True,
        )
    except FileNotFoundError:
        raise BenchError("wrk is missing: install it, e.g. apt-get install wrk") from None
    except subprocess.TimeoutExpired:
        raise BenchError("wrk did not end in time") from None
    except subprocess.CalledProcessError as error:
        raise BenchError(f"wrk failed: {error.stderr or error.stdout}") from None
    return msgspec.json.decode(ended.stdout.splitlines()[-1], type=Load)


def _require_good(load: Load, requests: Path) -> Load:
    if load.refused or load.unanswered or not load.requests:
        raise BenchError(
            f"of {load.requests} requests {load.refused} were refused and "
            f"{load.unanswered} not answered: {requests.stem}"
        )
    return load
