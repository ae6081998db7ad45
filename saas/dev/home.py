"""Where the cluster lives: in the data folder, or elsewhere when the server's user cannot go there.

That happens to root alone (a project below /root, say), whose server runs as a lesser user. Then
two small files tie the two folders together: `database_folder` in the data folder names the home,
`data_folder` in the home names the data folder.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from saas.dev.account import INSTEAD, Account
from saas.errors import ConfigurationError


def recorded_home(data_dir: Path) -> Path:
    """The home that the data folder names, else the data folder itself.

    Raises ConfigurationError when the data folder is a copy, whose home is the original's.
    """
    record = data_dir / "database_folder"
    home = _read(record)
    if home is None:
        return data_dir
    partner = _read(home / "data_folder")
    if partner not in (None, data_dir) and _read(partner / "database_folder") == home:
        raise ConfigurationError(
            f"{home} is the database of {partner}; delete {record} to begin with an empty one"
        )
    return home


def settle_home(data_dir: Path, account: Account, *, log: Callable[[str], None]) -> Path:
    """The home, which `account` can enter. Chosen once; a home elsewhere is told to `log`.

    Raises ConfigurationError when the recorded home is gone.
    """
    home = recorded_home(data_dir)
    if home != data_dir:
        # In /tmp anybody may have taken the name after a reboot.
        if not home.is_dir() or home.is_symlink() or home.lstat().st_uid != os.geteuid():
            raise ConfigurationError(
                f"the database folder {home} is gone; delete {data_dir / 'database_folder'} "
                "to begin with an empty one"
            )
        # The data folder may have been moved.
        _write(home / "data_folder", data_dir)
        return home
    if account.uid is None:
        return data_dir
    if account.can_enter(data_dir.parent):
        account.let_pass(data_dir)
    if account.can_enter(data_dir):
        return data_dir
    if (data_dir / "pg").exists():
        raise ConfigurationError(f"user {account.uid} can no longer enter {data_dir}: {INSTEAD}")
    home = _elsewhere(data_dir, account)
    log(f"The database lives in {home}, because user {account.uid} cannot enter {data_dir}.")
    return home


def _elsewhere(data_dir: Path, account: Account) -> Path:
    temporary = Path(os.path.realpath(tempfile.gettempdir()))
    parents = [temporary, Path("/tmp")]  # noqa: S108 - mkdtemp makes a folder of our own
    if temporary not in data_dir.parents:
        # It survives a reboot, as the data folder does.
        parents.insert(0, Path("/var/lib"))
    for parent in parents:
        if os.access(parent, os.W_OK) and account.can_enter(parent):
            home = Path(tempfile.mkdtemp(prefix="saas-", dir=parent))
            account.let_pass(home)
            _write(home / "data_folder", data_dir)
            _write(data_dir / "database_folder", home)
            return home
    raise ConfigurationError(f"user {account.uid} can enter no folder for a database: {INSTEAD}")


def _read(file: Path) -> Path | None:
    try:
        return Path(os.fsdecode(file.read_bytes()))
    except FileNotFoundError:
        return None


def _write(file: Path, content: Path) -> None:
    fresh = file.with_suffix(".new")
    fresh.write_bytes(os.fsencode(content))
    fresh.replace(file)
