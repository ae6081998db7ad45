"""Which living process serves a cluster. A pid file alone is never believed.

Its process may be dead, a zombie, or another that was given the same id. What counts is what the
kernel keeps of a process: the command line it was started with, the folder it works in.
"""

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec


class Postmaster(msgspec.Struct, frozen=True):
    """The living main process of one cluster."""

    pid: int
    socket_dir: Path | None = None
    """Where it listens; None as long as it has not said so."""
    is_ready: bool = False
    is_lasting: bool = True
    """Whether its pid file names it. Otherwise the server ends itself within a minute."""


def find_postmaster(cluster: Path) -> Postmaster | None:
    """The process that serves `cluster` (a real path), verified by what the kernel knows of it."""
    lines = _pid_file(cluster)
    named = int(lines[0]) if lines and lines[0].isdecimal() else 0
    if named and _serves(named, _command_line(named), cluster):
        socket_dir = lines[4] if len(lines) > 4 else ""
        return Postmaster(
            pid=named,
            socket_dir=Path(socket_dir) if socket_dir else None,
            is_ready=len(lines) > 7 and lines[7].strip() == "ready",
        )
    # A server whose pid file was lost or overwritten still writes to the cluster.
    for pid, command in _command_lines():
        if _serves(pid, command, cluster):
            return Postmaster(pid=pid, is_lasting=False)
    return None


def cluster_name(cluster: Path) -> str:
    """A name of the cluster that fits PostgreSQL's process titles and a folder in /tmp."""
    return "saas-" + hashlib.sha256(os.fsencode(cluster)).hexdigest()[:12]


def end_orphans(cluster: Path) -> None:
    """End the sessions that outlived a killed postmaster; only while none is alive.

    An idle session notices the death by itself, one in a long computation does not, and as long
    as it lives PostgreSQL refuses to start.
    """
    title = f"postgres: {cluster_name(cluster)}: "
    for pid, command in _command_lines():
        if command.startswith(title):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGQUIT)


def _pid_file(cluster: Path) -> list[str]:
    # Lines: pid, data folder, start time, port, socket folder, address, shared memory, state
    # (src/include/utils/pidfile.h).
    try:
        return (cluster / "postmaster.pid").read_text(errors="replace").splitlines()
    except (FileNotFoundError, PermissionError):
        return []


def _serves(pid: int, command: str, cluster: Path) -> bool:
    program, is_ours, _ = command.partition(f" -D {cluster} ")
    if is_ours:
        return Path(program).name == "postgres"
    if Path(command.split(" -")[0].rstrip()).name != "postgres":
        return False
    # Started by other means, or before the folder was moved. Linux only, and only where we may
    # look; for the rest PostgreSQL's own lock, the shared memory segment, holds.
    try:
        return cluster.samefile(f"/proc/{pid}/cwd")
    except OSError:
        return False


def _command_lines() -> Iterator[tuple[int, str]]:
    if sys.platform == "linux":
        for name in os.listdir("/proc"):
            if name.isdecimal():
                yield int(name), _command_line(int(name))
    else:
        for line in _ps("-ax", "-o", "pid=,command=").splitlines():
            pid, _, command = line.strip().partition(" ")
            yield int(pid), command.strip()


def _command_line(pid: int) -> str:
    """The words joined by spaces; empty for a dead process, collected by its parent or not."""
    if sys.platform == "linux":
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return ""
        return os.fsdecode(words.replace(b"\0", b" "))
    else:
        return _ps("-p", str(pid), "-o", "command=")


def _ps(*options: str) -> str:
    command = ["/bin/ps", "-ww", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603 - fixed words
