"""What the texts name exists."""

import re
from pathlib import Path

import pytest

from saas.app import RESOURCES
from saas.db.models import Base

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "deploy" / "README.md",
]
# A word in back quotes that reads like a path of the project.
_PATH = re.compile(
    r"`((?:saas|docs|deploy|tests|migrations)/[\w./-]*\w|[\w/]+\.(?:py|md|yml|ini))`"
)
# Made by following the page that names it.
_MADE_LATER = {"saas/features/invoices.py"}
_BELOW = (ROOT, ROOT / "saas")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    named = set(_PATH.findall(page.read_text(encoding="utf-8"))) - _MADE_LATER

    absent = [path for path in named if not any((root / path).exists() for root in _BELOW)]

    assert absent == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_make_target_that_a_page_names_exists(page: Path) -> None:
    named = set(re.findall(r"`?make ([a-z]+)\b", page.read_text(encoding="utf-8")))
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    commands = {name for name in named if f"`make {name}" in page.read_text(encoding="utf-8")}

    assert commands <= targets


def test_the_tree_of_the_architecture_page_is_the_tree() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    folders = {path.name for path in (ROOT / "saas").iterdir() if (path / "__init__.py").exists()}

    for name in folders:
        described = re.search(rf"^  {name}/ +(.+(?:\n {{20}}.+)*)", page, re.MULTILINE)
        assert described, f"docs/architecture.md does not describe saas/{name}/"
        words = set(re.findall(r"\w+", described.group(1)))
        files = {path.stem for path in (ROOT / "saas" / name).glob("*.py")} - {"__init__"}
        assert files <= words, f"saas/{name}: {files - words} is not on the page"


def test_names_of_constraints_and_indexes_are_short_enough_for_citus() -> None:
    assert RESOURCES
    names = [
        str(item.name)
        for table in Base.metadata.tables.values()
        for item in (*table.constraints, *table.indexes)
    ]

    assert [name for name in names if len(name) > 50] == []
