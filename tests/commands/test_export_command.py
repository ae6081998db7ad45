"""`saas export`: the file of the API, from the terminal."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from saas.commands import exports


async def test_file_is_the_one_of_the_api(saas: Any, tenant: Any, slug: str) -> None:
    for number in range(3):
        await tenant.create("projects", name=f"p{number}", description="=1" if number else None)

    for format in ("csv", "jsonl"):
        served = await tenant.get(f"/v1/projects/export?format={format}")
        ran = await saas("export", "--tenant", slug, "projects", "--format", format)
        assert (ran.code, ran.raw, ran.err) == (0, served.content, "")


async def test_filters_are_those_of_a_list(saas: Any, tenant: Any, slug: str) -> None:
    for name in ("one", "two", "three"):
        await tenant.create("projects", name=name)
    given = ["name__contains=o", "sort=-name", "fields=name"]
    filters = [word for text in given for word in ("--filter", text)]

    ran = await saas("export", "--tenant", slug, "projects", *filters)

    assert ran.raw == b"name\r\ntwo\r\none\r\n"


async def test_file_and_its_format_go_by_its_name(
    saas: Any, tenant: Any, slug: str, tmp_path: Path
) -> None:
    await tenant.create("projects", name="Magnet")
    options = ("--tenant", slug, "projects", "--filter", "fields=name")

    said = await saas("export", *options, "-o", "out.csv")
    told = await saas("export", *options, "-o", "out.jsonl", "--json")

    assert (tmp_path / "out.csv").read_bytes() == b"name\r\nMagnet\r\n"
    assert (tmp_path / "out.jsonl").read_bytes() == b'{"name":"Magnet"}\n'
    assert (said.code, said.out, said.err) == (0, "", "projects: 1 exported to out.csv\n")
    assert told.json == {
        "resource": "projects",
        "format": "jsonl",
        "file": "out.jsonl",
        "rows": 1,
        "bytes": 18,
    }
    assert sorted(os.listdir(tmp_path)) == ["out.csv", "out.jsonl"]


def test_what_fails_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    file.write_bytes(b"of yesterday")

    def write_half() -> None:
        with exports.written(file) as write:
            write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()

    assert file.read_bytes() == b"of yesterday"
    assert list(tmp_path.iterdir()) == [file]


async def test_what_is_no_file_stays_what_it_is(saas: Any, tenant: Any, slug: str) -> None:
    await tenant.create("projects", name="Magnet")
    export = ("export", "--tenant", slug, "projects", "-o")

    assert (await saas(*export, "/dev/null")).code == 0
    assert "No space left on device" in (await saas(*export, "/dev/full")).refusal
    for device in ("/dev/null", "/dev/full"):
        assert stat.S_ISCHR(os.stat(device).st_mode)


async def test_wrong_wish_is_refused_in_a_line(saas: Any, slug: str) -> None:
    for words, reason in (
        (("--tenant", "nobody", "projects"), "There is no tenant nobody."),
        (("--tenant", slug, "planets"), "give projects, tasks"),
        (("--tenant", slug, "projects", "--filter", "planet=x"), "Allowed: id"),
        (("--tenant", slug, "projects", "--filter", "limit=5"), "no pages"),
        (("--tenant", slug, "projects", "--filter", "name"), "NAME=VALUE"),
        (("--tenant", slug, "projects", "--json"), "needs --output"),
        (("--tenant", slug, "projects", "-o", "no/such/folder/out.csv"), "cannot write"),
    ):
        assert reason in (await saas("export", *words)).refusal
