"""`saas` as processes of their own, for the tests that start, stop and kill them.

Signals go only to processes that were started here, or that descend from those.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import httpx

from saas.dev.home import recorded_home
from saas.dev.postgres import EmbeddedPostgres
from saas.dev.postmaster import find_postmaster
from throwaway import throwaway_folder

PATIENCE_SECONDS = 40


class Process(NamedTuple):
    pid: int
    parent: int
    command: str


class Dev:
    """One `saas dev`, as `make run` starts it, in a session of its own. It does not outlive its
    `with` block."""

    def __init__(self, data_dir: Path, *, cwd: Path | None = None, port: int = 0) -> None:
        self.data_dir = data_dir
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = data_dir.parent / f"dev-{time.monotonic_ns()}.log"
        self._started_at = time.monotonic()
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "saas.cli", "dev"],
                cwd=cwd or data_dir.parent,
                env=environment(port=self.port, data_dir=data_dir, access_log="false"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def __enter__(self) -> "Dev":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def output(self) -> str:
        return self._log.read_text()

    def is_ready(self) -> bool:
        return "Platform key" in self.output

    def ready(self) -> "Dev":
        """Wait until it has said that it serves."""
        wait_until(lambda: self.is_ready() or self.process.poll() is not None)
        assert self.is_ready(), self.output
        self.seconds = time.monotonic() - self._started_at
        return self

    def keys(self) -> dict[str, str]:
        """The printed keys by tenant, and the platform's."""
        words = [line.split() for line in self.output.splitlines()]
        found = {tenant[1]: key[1] for tenant, key in pairwise(words) if tenant[:1] == ["Tenant"]}
        platform = next(line[2] for line in words if line[:2] == ["Platform", "key"])
        return {**found, "platform": platform}

    def get(self, path: str, key: str) -> httpx.Response:
        return self.ask("GET", path, key)

    def ask(self, method: str, path: str, key: str, json: object = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.request(method, self.url + path, headers=headers, json=json, timeout=20)

    def status(self, path: str, key: str = "none") -> int:
        """The status of the answer; 0 without any."""
        try:
            return self.get(path, key).status_code
        except httpx.TransportError:
            return 0

    def signal(self, number: signal.Signals) -> int:
        """Send it to the process alone, and wait for the end; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)

    def interrupt(self) -> int:
        """What Ctrl-C in a terminal does: the whole process group gets SIGINT."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(PATIENCE_SECONDS)

    def processes(self) -> list[Process]:
        return processes_of(self.data_dir)

    def server(self) -> Process:
        """The `saas serve` that it has started."""
        return next(p for p in self.processes() if p.parent == self.process.pid and is_serve(p))

    def worker(self) -> Process:
        server = self.server()
        return next(p for p in self.processes() if p.parent == server.pid and is_serve(p))


def is_serve(process: Process) -> bool:
    return "saas.cli serve" in process.command


def processes_of(data_dir: Path) -> list[Process]:
    """Every living process of an installation that we may look at, known by its environment or
    command line. Without /proc only its PostgreSQL."""
    if not Path("/proc/self/stat").exists():
        server = find_postmaster(recorded_home(data_dir) / "pg")
        return [Process(server.pid, 0, "postgres")] if server else []
    pids = (int(name) for name in os.listdir("/proc") if name.isdecimal())
    return [p for pid in pids if (p := _process(pid, data_dir)) is not None]


def _process(pid: int, data_dir: Path) -> Process | None:
    folder = Path("/proc", str(pid))
    try:
        command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        variables = (folder / "environ").read_bytes().split(b"\0")
        parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None
    # A dead process that nobody has collected has no command line.
    is_ours = f"SAAS_DATA_DIR={data_dir}".encode() in variables or f" {data_dir}/pg " in command
    return Process(pid, parent, command) if command and is_ours else None


def run_saas(*arguments: str, cwd: Path, **settings: object) -> subprocess.CompletedProcess[str]:
    """One command to its end; its two outputs together."""
    return subprocess.run(
        [sys.executable, "-m", "saas.cli", *arguments],
        cwd=cwd,
        env=environment(**settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def environment(**settings: object) -> dict[str, str]:
    """Ours, with these settings of the product and no others."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SAAS_", "PYTEST_"))}
    return kept | {f"SAAS_{name.upper()}": str(value) for name, value in settings.items()}


def wait_until(is_so: Callable[[], bool], *, found: Callable[[], object] = str) -> None:
    """Fails after a while, telling what was `found` instead."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, f"not so after {PATIENCE_SECONDS} s: {found()}"
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder in which nothing runs any more at the end."""
    folder = throwaway_folder("saas-dev-")
    try:
        yield folder
    finally:
        for lock in folder.rglob("server.lock"):
            end_all(lock.parent)
        shutil.rmtree(folder)


def end_all(data_dir: Path) -> None:
    """Whatever a test has left: kill what serves, and stop the database."""
    for process in processes_of(data_dir):
        if "saas.cli" in process.command:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: not [p for p in processes_of(data_dir) if "saas.cli" in p.command])
    EmbeddedPostgres(data_dir).stop(immediate=True)
