"""The server process of one cluster: adopt a running one, launch, end.

A server counts as ours when its process was started on our cluster (`postmaster.py`) and it
answers at our socket with our data folder. Callers hold `lock.server_lock`.
"""

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psycopg

from saas.dev.account import Account
from saas.dev.cluster import SUPERUSER, last_lines
from saas.dev.lock import POLL_SECONDS, open_private
from saas.dev.postmaster import Postmaster, cluster_name, end_orphans, find_postmaster
from saas.dev.sockets import PORT, SOCKET, prepare_socket_dir, socket_dir_for
from saas.errors import ConfigurationError

# A crash leaves at most max_wal_size (1 GB) to replay.
PATIENCE_SECONDS = 120.0
# Sessions that outlived a killed server end at once when told.
ORPHANS_SECONDS = 15.0
LARGEST_LOG_BYTES = 10_000_000
OPTIONS = (
    "listen_addresses=",
    f"port={PORT}",
    "unix_socket_permissions=0700",
    "max_connections=100",
    "shared_buffers=256MB",
    # A prepared plan made while a table was small is thrown away at the next ANALYZE; a minute, the
    # default, is long for an installation whose first tenant arrives with all its data.
    "autovacuum_naptime=10s",
    # Commits would wait while each new file of the log is filled with zeros (docs/decisions/0015).
    "wal_init_zero=off",
    "jit=off",
    "timezone=UTC",
    "log_timezone=UTC",
)
# Losing power would lose the cluster: for tests.
FRAGILE_OPTIONS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


def adopt(cluster: Path, account: Account) -> bool:
    """Whether the server of the cluster runs and serves; waits for one that starts or stops."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (server := find_postmaster(cluster)) is not None:
        if not server.is_lasting or (server.is_ready and not _is_reachable(server, account)):
            end(cluster, signal.SIGINT)
        elif server.is_ready and _answers(server.socket_dir, cluster):
            return True
        elif time.monotonic() > deadline:
            raise ConfigurationError(
                f"the server of {cluster} (pid {server.pid}) runs, but does not answer"
            )
        time.sleep(POLL_SECONDS)
    if _answers(socket_dir_for(cluster), cluster):
        raise ConfigurationError(
            f"a server of {cluster} runs where this system does not show it, in a container perhaps"
        )
    return False


def launch(
    cluster: Path, account: Account, *, programs: Path, durable: bool, log_file: Path
) -> subprocess.Popen[bytes]:
    """Start the server and return once it serves. Only after `adopt` found none.

    Raises ConfigurationError with the last lines of the server's log.
    """
    # PostgreSQL refuses to start if the file names any living process. That no server is alive
    # was verified better; against sessions of a killed one it has a second lock, the shared
    # memory segment (PGSharedMemoryCreate), whose refusal is answered below.
    (cluster / "postmaster.pid").unlink(missing_ok=True)
    options = (
        f"unix_socket_directories={prepare_socket_dir(cluster, account)}",
        f"cluster_name={cluster_name(cluster)}",
        *OPTIONS,
        *(() if durable else FRAGILE_OPTIONS),
    )
    settings = [word for option in options for word in ("-c", option)]
    command = [programs / "postgres", "-D", cluster, *settings]
    _rotate(log_file)
    deadline = time.monotonic() + ORPHANS_SECONDS
    while True:
        process, said = _attempt(command, account, cluster=cluster, log_file=log_file)
        if process is not None:
            return process
        if "pre-existing shared memory block" not in said or time.monotonic() > deadline:
            raise ConfigurationError(
                f"PostgreSQL did not start: {last_lines(said)} (see {log_file})"
            )
        end_orphans(cluster)
        time.sleep(POLL_SECONDS)


def end(cluster: Path, how: signal.Signals) -> None:
    """End the server, if one runs, and wait until its last process is gone.

    SIGINT closes the sessions and writes everything out, SIGQUIT leaves that to recovery
    (postgres(1)); the second follows if the first takes too long.
    """
    for signal_number in (how, signal.SIGQUIT):
        server = find_postmaster(cluster)
        if server is None:
            return
        with suppress(ProcessLookupError):
            os.kill(server.pid, signal_number)
        deadline = time.monotonic() + PATIENCE_SECONDS / 2
        while find_postmaster(cluster) is not None and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS / 2)
    server = find_postmaster(cluster)
    if server is not None:
        raise ConfigurationError(f"the server of {cluster} (pid {server.pid}) does not stop")


def _attempt(
    command: list[str | Path], account: Account, *, cluster: Path, log_file: Path
) -> tuple[subprocess.Popen[bytes] | None, str]:
    """The serving process, or None and what it said before it ended."""
    with open(open_private(log_file, os.O_RDWR | os.O_APPEND), "rb") as log:
        start = log.seek(0, os.SEEK_END)
        process = account.spawn(*command, output=log.fileno())
        if _becomes_ready(process, cluster):
            return process, ""
        log.seek(start)
        return None, log.read().decode(errors="replace")


def _becomes_ready(process: subprocess.Popen[bytes], cluster: Path) -> bool:
    """Wait for the server to serve; False if it ended by itself."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    try:
        while process.poll() is None:
            server = find_postmaster(cluster)
            if server is not None and server.is_ready and _answers(server.socket_dir, cluster):
                return True
            if time.monotonic() > deadline:
                raise ConfigurationError(f"PostgreSQL took over {PATIENCE_SECONDS:.0f} s to start")
            time.sleep(POLL_SECONDS)
    except BaseException:
        # Ctrl-C during the start must not leave a server that nobody stops.
        process.send_signal(signal.SIGQUIT)
        process.wait()
        raise
    return False


def _answers(folder: Path | None, cluster: Path) -> bool:
    """Whether a server accepts us there. Raises ConfigurationError if it is another cluster's."""
    if folder is None or not (folder / SOCKET).exists():
        return False
    try:
        with psycopg.connect(
            host=str(folder),
            port=PORT,
            user=SUPERUSER,
            dbname="postgres",
            connect_timeout=5,
            autocommit=True,
        ) as connection:
            row = connection.execute("SHOW data_directory").fetchone()
    except psycopg.OperationalError:
        return False
    found = os.path.realpath(row[0]) if row else None
    if found != str(cluster):
        raise ConfigurationError(f"the server in {folder} serves {found}, not {cluster}; stop it")
    return True


def _is_reachable(server: Postmaster, account: Account) -> bool:
    # A cleaner of /tmp may have removed the folder, and a stranger may have made it anew.
    folder = server.socket_dir
    return folder is not None and account.owns(folder) and (folder / SOCKET).is_socket()


def _rotate(log_file: Path) -> None:
    with suppress(FileNotFoundError):
        if log_file.stat().st_size > LARGEST_LOG_BYTES:
            log_file.replace(log_file.with_suffix(".log.1"))
