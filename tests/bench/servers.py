"""One HTTP server as a child process: start, wait until it answers, stop by id."""

import os
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL

import httpx

from tests.bench import procfs
from tests.bench.errors import BenchError

ROOT = Path(__file__).parents[2]
STOP_SECONDS = 30


class Server:
    """A context manager; it runs in a session of its own, so a Ctrl-C reaches the runner only,
    which then stops it in order."""

    def __init__(
        self, name: str, command: Sequence[str], *, environment: Mapping[str, str], log: Path
    ) -> None:
        self.name = name
        self.log = log
        log.touch(mode=0o600)
        with log.open("wb") as output:
            self._child = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self._child.pid

    def wait_until_ready(self, url: str, seconds: float) -> None:
        """Wait for a 200 from `url`. Raises BenchError when it ends or stays silent."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._child.poll() is not None:
                raise BenchError(f"{self.name} ended at its start, see {self.log}")
            with suppress(httpx.TransportError):
                if httpx.get(url, timeout=5, trust_env=False).status_code == 200:
                    return
            time.sleep(0.1)
        raise BenchError(f"{self.name} did not answer {url} in {seconds:.0f} s, see {self.log}")

    def stop(self) -> None:
        """End it politely; what is left of its tree after STOP_SECONDS is killed."""
        family = procfs.tree(self.pid)
        self._child.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(STOP_SECONDS)
            return
        for member in family:
            now = procfs.stat_of(member.pid)
            if now and now.started == member.started:
                with suppress(ProcessLookupError):
                    os.kill(member.pid, SIGKILL)
        self._child.wait(STOP_SECONDS)


def free_port() -> int:
    """A loopback port that nothing listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
