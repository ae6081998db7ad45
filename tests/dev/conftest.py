"""Folders for real embedded servers, and a way to start one from another process."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import psycopg
import pytest

from saas.dev.home import recorded_home
from saas.dev.postgres import EmbeddedPostgres
from saas.dev.postmaster import find_postmaster
from throwaway import throwaway_folder

# Starts a server and stops it at a line of input. Arguments: folder, what to be, user id or 0.
STARTER = """
import os, sys
from contextlib import nullcontext
from pathlib import Path
from saas.dev.lock import installation_lock
from saas.dev.postgres import EmbeddedPostgres
from saas.errors import ConfigurationError
folder, role, uid = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
if uid:
    os.setgroups([]); os.setgid(uid); os.setuid(uid)
server = EmbeddedPostgres(folder, durable=False)
try:
    with installation_lock(folder) if role == "installation" else nullcontext():
        server.start()
        print("owned" if server.owned else "not owned", flush=True)
        sys.stdin.readline()
        server.stop()
except ConfigurationError as error:
    print(error, flush=True)
"""


@pytest.fixture
def parent() -> Iterator[Path]:
    """A folder that any user may pass, unlike pytest's own, with a short path."""
    folder = throwaway_folder("pgtest-")
    yield folder
    stop_below(folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Path]:
    """A cluster that the tests hand on, which is faster than making one for each."""
    folder = throwaway_folder("pgtest-")
    server = EmbeddedPostgres(folder / ".saas", durable=False)
    server.start()
    server.stop()
    yield folder / ".saas" / "pg"
    shutil.rmtree(folder)


@pytest.fixture
def folder(parent: Path, cluster: Path) -> Iterator[Path]:
    """The data folder of an installation that ran before. It may be renamed beside itself."""
    data_dir = parent / ".saas"
    data_dir.mkdir(mode=0o700)
    cluster.rename(data_dir / "pg")
    yield data_dir
    stop_below(parent)
    next(parent.glob("*/pg")).rename(cluster)


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., EmbeddedPostgres]]:
    """Start the server of the folder; it is stopped after the test."""
    started: list[EmbeddedPostgres] = []

    def start(*, durable: bool = False) -> EmbeddedPostgres:
        started.append(EmbeddedPostgres(folder, durable=durable))
        started[-1].start()
        return started[-1]

    yield start
    for server in started:
        server.stop(immediate=True)


@pytest.fixture
def ask() -> Callable[[EmbeddedPostgres, str], list[object]]:
    """The first row of an answer to a superuser."""

    def ask(server: EmbeddedPostgres, question: str) -> list[object]:
        address = server.dsn(server.superuser, "postgres")
        with psycopg.connect(address, autocommit=True) as connection:
            answer = connection.execute(question.encode())
            return list(answer.fetchone() or ()) if answer.description else []

    return ask


@pytest.fixture
def pid_of() -> Callable[[Path], int | None]:
    """The living server of a data folder."""

    def pid_of(data_dir: Path) -> int | None:
        server = find_postmaster(recorded_home(data_dir) / "pg")
        return server.pid if server else None

    return pid_of


@pytest.fixture
def starter() -> Callable[..., AbstractContextManager[subprocess.Popen[str]]]:
    """Another process that starts the server, tells whether it owns it, and waits for a line."""

    @contextmanager
    def starter(
        data_dir: Path, role: str = "user", uid: int = 0
    ) -> Iterator[subprocess.Popen[str]]:
        command = [sys.executable, "-c", STARTER, str(data_dir), role, str(uid)]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    return starter


def stop_below(parent: Path) -> None:
    for lock in list(parent.rglob("server.lock")):
        home = recorded_home(lock.parent)
        EmbeddedPostgres(lock.parent).stop(immediate=True)
        assert find_postmaster(home / "pg") is None
        if home != lock.parent:
            shutil.rmtree(home)
