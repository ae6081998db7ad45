"""The user that the server runs as. PostgreSQL refuses root, so root lends it a lesser user."""

import os
import pwd
import stat
import subprocess
from collections.abc import Iterable
from pathlib import Path

import msgspec

from saas.errors import ConfigurationError

INSTEAD = "set SAAS_DATABASE_URL to use a server of your own"


class Account(msgspec.Struct, frozen=True):
    """A user of the operating system; no `uid` means the one we are."""

    uid: int | None = None
    gid: int | None = None

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a program to its end, its output kept."""
        return subprocess.run(  # noqa: S603 - our own programs, no shell
            command,
            user=self.uid,
            group=self.gid,
            extra_groups=self._extra_groups,
            cwd="/",
            env=self._environment,
            umask=0o077,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )

    def spawn(self, *command: str | Path, output: int) -> subprocess.Popen[bytes]:
        """Start a program that writes to the file `output` and survives Ctrl-C."""
        return subprocess.Popen(  # noqa: S603 - our own programs, no shell
            command,
            user=self.uid,
            group=self.gid,
            extra_groups=self._extra_groups,
            cwd="/",
            env=self._environment,
            umask=0o077,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # A terminal interrupts the whole group; the server must outlive the last request.
            start_new_session=True,
        )

    def give(self, path: Path) -> None:
        """Make the account the owner of a file or folder of ours."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def let_pass(self, folder: Path) -> None:
        """Let the account's group go through a folder of ours, neither list nor write it."""
        if self.gid is not None and not self.can_enter(folder):
            os.chown(folder, -1, self.gid, follow_symlinks=False)
            folder.chmod((folder.stat().st_mode & 0o707) | 0o010)

    def can_enter(self, folder: Path) -> bool:
        """Whether the account reaches the folder; asked of the kernel, access lists and all."""
        return self.run("/bin/sh", "-c", 'cd -- "$1"', "sh", folder).returncode == 0

    def can_run(self, program: Path) -> bool:
        """Whether the account can execute the program and load its libraries."""
        try:
            return self.run(program, "--version").returncode == 0
        except OSError:
            return False

    def owns(self, path: Path) -> bool:
        """Whether the path is a folder of the account's, closed to everybody else."""
        try:
            found = path.lstat()
        except FileNotFoundError:
            return False
        uid = os.geteuid() if self.uid is None else self.uid
        return found.st_uid == uid and stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077

    @property
    def _extra_groups(self) -> list[int] | None:
        # Root's further groups would follow otherwise.
        return None if self.uid is None else []

    @property
    def _environment(self) -> dict[str, str]:
        # Nothing of ours (PGDATA, LANG, secrets) may steer or reach the server.
        return {"LC_ALL": "C", "PATH": os.defpath}


def server_account(preferred: Iterable[Path]) -> Account:
    """Ourselves; for root the owner of the first `preferred` path that is not his, else a system
    user. Raises ConfigurationError when there is none, or this root cannot change its user."""
    if os.geteuid() != 0:
        return Account()
    entries = [*map(_owner, preferred), *map(_named, ("postgres", "_postgres", "nobody"))]
    entry = next(filter(None, entries), None)
    if entry is None:
        raise ConfigurationError(
            "PostgreSQL refuses to run as root, and there is no user postgres or nobody: " + INSTEAD
        )
    account = Account(uid=entry.pw_uid, gid=entry.pw_gid)
    try:
        account.run("/bin/sh", "-c", ":")
    except OSError as error:
        raise ConfigurationError(
            f"PostgreSQL refuses to run as root, and root cannot become {entry.pw_name} here "
            f"({error.strerror}): {INSTEAD}"
        ) from None
    return account


def _owner(path: Path) -> pwd.struct_passwd | None:
    try:
        uid = path.lstat().st_uid
        # initdb demands a user that has a name.
        return pwd.getpwuid(uid) if uid != 0 else None
    except (FileNotFoundError, KeyError):
        return None


def _named(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None
