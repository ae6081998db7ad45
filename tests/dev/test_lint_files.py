"""Which files `saas lint` looks at, and what it says of those that it cannot read."""

from pathlib import Path

import pytest

from command_line import run
from saas.dev.lint import faults_in

BAD = "SQL = 'SELECT id FROM projects'\n"


def written(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(BAD)


def found(folder: Path) -> list[str]:
    return [fault.path.relative_to(folder).as_posix() for fault in faults_in([folder])]


def test_only_the_projects_own_files_are_looked_at(tmp_path: Path) -> None:
    written(
        tmp_path,
        *("env/lib/one.py", "web/node_modules/two.py", "lib/site-packages/three.py"),
        *("build/lib/four.py", "dist/five.py", "shop/__pycache__/six.py", ".tox/seven.py"),
        *("migrations/versions/eight.py", "shop/.nine.py"),
    )
    written(tmp_path, "shop/own.py", "shop/build/__init__.py", "shop/build/own.py", "venv/own.py")
    (tmp_path / "env" / "pyvenv.cfg").write_text("home = /usr/bin\n")

    assert found(tmp_path) == [
        "shop/build/__init__.py",
        "shop/build/own.py",
        "shop/own.py",
        "venv/own.py",
    ]
    assert found(tmp_path / "env") == ["lib/one.py"]


def test_only_folders_are_migrations(tmp_path: Path) -> None:
    written(tmp_path, "migrations_report.py", "migrations.py", "migrations_old/a.py")
    written(tmp_path, "migrations/a.py", "shop/migrations/b.py")

    assert found(tmp_path) == ["migrations.py", "migrations_old/a.py", "migrations_report.py"]


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"# fine\nNAME = 'caf\xe9'\n", 2),
        (b"# coding: nonsense\n", 1),
        (b"# coding: hex\nx = 1\n", 1),
        (b"x = '\0'\n", 1),
        (b"x = " + b"-" * 50_000 + b"1\n", 1),
    ],
)
def test_file_that_cannot_be_read_is_a_fault_of_one_line(
    tmp_path: Path, data: bytes, line: int
) -> None:
    file = tmp_path / "odd.py"
    file.write_bytes(data)

    ran = run("lint", str(file))

    assert (ran.code, ran.err) == (1, "")
    (said,) = ran.out.splitlines()
    assert said.startswith(f"{file}:{line}: ")


def test_file_that_is_gone_is_a_fault_and_the_others_are_looked_at(tmp_path: Path) -> None:
    written(tmp_path, "shop.py")
    (tmp_path / "gone.py").symlink_to(tmp_path / "nowhere.py")

    assert found(tmp_path) == ["gone.py", "shop.py"]


def test_coding_and_byte_order_mark_are_heeded(tmp_path: Path) -> None:
    cookie, mark = tmp_path / "cookie.py", tmp_path / "mark.py"
    cookie.write_bytes(b"# coding: latin-1\nNAME = 'caf\xe9'\n" + BAD.encode())
    mark.write_bytes(b"\xef\xbb\xbf" + BAD.replace("\n", "\r\n").encode())

    assert [(fault.path, fault.line) for fault in faults_in([tmp_path])] == [(cookie, 3), (mark, 1)]
