"""Who may run an installation, and who is using its server: locks that die with their process.

The kernel drops them at any death, so no file has to be cleaned up after a kill. The files stay:
removing a locked file would let two processes hold "the" lock.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from saas.errors import ConfigurationError

POLL_SECONDS = 0.02


@contextmanager
def installation_lock(data_dir: Path) -> Iterator[None]:
    """Hold the right to run the installation of `data_dir`, which is created when absent.

    Raises ConfigurationError when another process holds it, or the folder cannot be written.
    """
    file = open_private(data_dir / "installation.lock")
    try:
        # A moment of patience: `installation_holder` of another process takes it to look.
        if not _try_for(file, seconds=0.5):
            raise ConfigurationError(
                f"another installation is already running in {data_dir} (pid {_pid_in(file)})"
            )
        os.ftruncate(file, 0)
        os.pwrite(file, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(file)


def installation_holder(data_dir: Path) -> int | None:
    """The id of the process that runs the installation now (it may be this one), or None."""
    file = open_private(data_dir / "installation.lock")
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _pid_in(file)
    finally:
        os.close(file)
    return None


@contextmanager
def server_lock(data_dir: Path, *, wait_seconds: float = 150.0) -> Iterator[None]:
    """Start and stop the server one at a time. Held for moments, unlike the installation's."""
    file = open_private(data_dir / "server.lock")
    try:
        if not _try_for(file, seconds=wait_seconds):
            raise ConfigurationError(f"another process is still starting the server of {data_dir}")
        yield
    finally:
        os.close(file)


def join_users(data_dir: Path) -> int:
    """Count this process among the users of the server, until `leave_users` or its death."""
    file = open_private(data_dir / "users.lock")
    # A POSIX lock belongs to the process, not to the open file: two objects of one process do
    # not count as two users (fcntl(2), "Advisory record locking").
    fcntl.lockf(file, fcntl.LOCK_SH)
    return file


def leave_users(data_dir: Path, file: int | None) -> bool:
    """Undo `join_users`. Returns whether no other process uses the server."""
    file = open_private(data_dir / "users.lock") if file is None else file
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # POSIX allows EAGAIN and EACCES.
        return False
    finally:
        os.close(file)
    return True


def open_private(path: Path, flags: int = os.O_RDWR) -> int:
    """Open a file that only we may read, with its folder, creating both when absent."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The folder may belong to a user with fewer rights: do not follow links he put there.
        return os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(
            f"the data folder {path.parent} cannot be written: {error.strerror} ({error.filename})"
        ) from None


def _try_for(file: int, *, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        else:
            return True


def _pid_in(file: int) -> int:
    """Zero in the instant between the lock and the writing of its holder's id."""
    return int(os.pread(file, 20, 0) or b"0")
