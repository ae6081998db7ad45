"""docs/migrating-from.md, followed to the letter, and what `saas migrate-from` says besides."""

import csv
import re
import shlex
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "migrating-from.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


@pytest.fixture
def commands(tmp_path: Path, slug: str) -> list[list[str]]:
    """The commands of the page for the test's tenant, with the files that come before them."""
    (tmp_path / "legacy.py").write_text(block("python"))
    (tmp_path / "users.toml").write_text(block("toml"))
    make, *commands = map(shlex.split, block("sh").replace("acme", slug).splitlines())
    subprocess.run([sys.executable, *make[1:]], cwd=tmp_path, check=True)
    return [command[1:] for command in commands]


async def test_page_is_true(saas: Any, tenant: Any, commands: list[list[str]]) -> None:
    for number in range(2):
        await tenant.create("projects", name=f"Own {number}")
    tried, copied = [await saas(*command) for command in commands]

    assert copied.out == block("text")
    assert tried.out.startswith(block("text").splitlines()[0])
    assert (tried.code, copied.code, tried.err, copied.err) == (0, 0, "", "")
    row = (await tenant.get("/v1/projects?name=user7")).json()["items"][0]
    assert (row["description"], row["is_active"], row["budget_cents"]) == (
        "User Number 7, user7@old.test",
        False,
        175,
    )
    assert row["created_by"] == "platform:cli"


async def test_steps_of_the_page_are_all_that_there_are() -> None:
    from_page = set(re.findall(r"`(\w+)(?: =[^`]*)?`", block_of_steps()))
    assert from_page >= {
        *("from", "const", "call", "join", "text", "strip", "lower", "trim", "null"),
        *("values", "otherwise", "date", "time", "zone", "cents", "default", "lookup"),
    }


def block_of_steps() -> str:
    return PAGE.partition("| step | does |")[2].partition("## ")[0]


async def test_bad_rows_are_told_and_the_exit_code_says_so(
    saas: Any, slug: str, commands: list[list[str]], tmp_path: Path
) -> None:
    with sqlite3.connect(tmp_path / "legacy.db") as source:
        source.execute("UPDATE users SET is_active = 'maybe' WHERE id IN (5, 500)")
    source.close()

    ran = await saas(*commands[1], "--json", "--batch-rows", "100")
    again = await saas(*commands[1])

    assert (ran.code, again.code) == (1, 1)
    (table,) = ran.json["tables"]
    assert ran.json["errors"] == f"users.{slug}.errors.csv"
    assert (table["in_source"], table["read"], table["inserted"], table["failed"]) == (
        *(1_000, 1_000),
        *(998, 2),
    )
    assert (table["before"], table["in_tenant"], table["is_whole"]) == (0, 998, False)
    assert again.out.splitlines()[1:] == [
        f"The bad rows are in users.{slug}.errors.csv.",
        "Not every row of the source is in.",
    ]
    with (tmp_path / ran.json["errors"]).open(newline="") as file:
        bad = list(csv.DictReader(file))
    assert [(row["key"], row["column"], row["code"]) for row in bad] == [
        ("5", "is_active", "unknown_value"),
        ("500", "is_active", "unknown_value"),
    ]


async def test_address_may_come_from_the_environment(
    saas: Any, commands: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAAS_SOURCE_URL", "sqlite:///legacy.db")

    ran = await saas(*(word for word in commands[0] if not word.startswith("sqlite:")), "--json")

    assert (ran.code, ran.json["dry_run"]) == (0, True)


async def test_migration_that_is_done_can_be_begun_again(
    saas: Any, commands: list[list[str]], tmp_path: Path
) -> None:
    copy = [*commands[1], "--json"]
    await saas(*copy)

    again = await saas(*copy)
    anew = await saas(*copy, "--restart")
    (tmp_path / "users.toml").write_text(block("toml").replace("120", "20"))
    other = await saas(*copy)

    assert (again.code, again.json["tables"][0]["inserted"]) == (0, 1_000)
    assert (anew.code, anew.json["tables"][0]["failed"]) == (1, 1_000)
    assert "another map, source or tenant" in other.refusal


async def test_what_cannot_be_migrated_is_refused_in_a_line(
    saas: Any, slug: str, commands: list[list[str]], tmp_path: Path
) -> None:
    (tmp_path / "odd.toml").write_text('[[table]]\nsource = "users"\nresorce = "projects"')
    (tmp_path / "none.toml").write_text("table = []")
    (tmp_path / "broken.toml").write_text("[[table")
    command, url, *_ = commands[1]

    for words, reason in (
        ((url, "--tenant", "nobody", "--map", "users.toml"), "There is no tenant nobody."),
        ((url, "--tenant", slug, "--map", "no.toml"), "cannot read no.toml"),
        ((url, "--tenant", slug, "--map", "odd.toml"), "odd.toml: Object"),
        ((url, "--tenant", slug, "--map", "none.toml"), "at least one [[table]]"),
        ((url, "--tenant", slug, "--map", "broken.toml"), "broken.toml: "),
        (("sqlite:///no.db", "--tenant", slug, "--map", "users.toml"), "no SQLite file"),
        ((url, "--tenant", slug, "--map", "users.toml", "--errors", "no/x.csv"), "cannot write"),
        ((url, "--tenant", slug, "--map", "users.toml", "--checkpoint", "no/x"), "cannot write"),
    ):
        assert reason in (await saas(command, *words)).refusal
