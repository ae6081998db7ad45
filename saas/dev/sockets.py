"""The folder of the server's socket: short enough for the kernel, closed to other users.

The folder is the only door: within it every connection is trusted (`--auth-local=trust`).
"""

import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path

from saas.dev.account import Account
from saas.dev.postmaster import cluster_name
from saas.errors import ConfigurationError

PORT = 5432
SOCKET = f".s.PGSQL.{PORT}"
# A socket's path holds 108 bytes on Linux and 104 on macOS (unix(7)), the last one a zero.
LONGEST_PATH_BYTES = 90


def socket_dir_for(cluster: Path) -> Path:
    """Beside the cluster if the path is short and plain, else below a temporary folder."""
    beside = cluster.parent / "run"
    if _fits(beside):
        return beside
    parents = [Path(tempfile.gettempdir()), Path("/tmp")]  # noqa: S108 - the owner is verified
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    # Root's own runtime folder is closed to the user that its server runs as.
    if runtime and os.geteuid() != 0 and os.access(runtime, os.W_OK):
        parents.insert(0, Path(runtime))
    return next(filter(_fits, (parent / cluster_name(cluster) for parent in parents)))


def prepare_socket_dir(cluster: Path, account: Account) -> Path:
    """Create the folder, free of what a killed server left. Only while no server runs.

    Raises ConfigurationError when the folder is somebody else's.
    """
    folder = socket_dir_for(cluster)
    folder.mkdir(mode=0o700, exist_ok=True)
    # In a shared folder anybody may create the name first, and then serve us his own database.
    if folder.is_symlink() or folder.lstat().st_uid not in (os.geteuid(), account.uid):
        raise ConfigurationError(f"{folder} belongs to somebody else; remove it")
    account.give(folder)
    folder.chmod(0o700)
    _clear(folder)
    return folder


def remove_socket_dir(folder: Path, cluster: Path) -> None:
    """Remove the folder, if it is there and the server's. Only while no server runs."""
    with suppress(FileNotFoundError):
        if folder.lstat().st_uid == cluster.lstat().st_uid:
            _clear(folder)
            folder.rmdir()


def _clear(folder: Path) -> None:
    # A lock file whose process id was given to another process would stop PostgreSQL's start.
    for name in (SOCKET, f"{SOCKET}.lock"):
        (folder / name).unlink(missing_ok=True)


def _fits(folder: Path) -> bool:
    # Clients take a comma for a list of servers (libpq, 32.1.1.3), and more signs are special to
    # one or another.
    is_plain = re.fullmatch(r"[\w/.+ -]+", str(folder)) is not None
    return is_plain and len(os.fsencode(folder / SOCKET)) <= LONGEST_PATH_BYTES
