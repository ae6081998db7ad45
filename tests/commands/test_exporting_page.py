"""docs/exporting.md, followed to the letter."""

import re
import shlex
from pathlib import Path
from typing import Any

PAGE = (Path(__file__).parents[2] / "docs" / "exporting.md").read_text(encoding="utf-8")
COMMANDS = "".join(re.findall(r"^```sh\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)).splitlines()


async def test_both_ways_of_the_page_give_the_same_file_which_comes_back(
    saas: Any, tenant: Any, slug: str, tmp_path: Path
) -> None:
    for name in ("two", "one", "=three"):
        await tenant.create("projects", name=name)
    await tenant.create("projects", name="gone", is_active=False)
    by_http, by_command, back = COMMANDS

    answer = await tenant.get(shlex.split(by_http)[2].removeprefix("$URL"))
    ran = await saas(*shlex.split(by_command.replace("acme", slug))[1:])
    came_back = await saas(*shlex.split(back.replace("acme", slug))[1:], "--json")

    assert (answer.status_code, ran.code, came_back.code) == (200, 0, 0)
    assert (came_back.json["rows_read"], came_back.json["skipped"]) == (3, 3)
    assert (tmp_path / "projects.csv").read_bytes() == answer.content
    assert answer.headers["Content-Disposition"].endswith('filename="projects.csv"')
    assert re.findall(r",('?=?\w+),,true,\r\n", answer.text) == ["'=three", "one", "two"]


def test_page_names_what_is_put_behind_an_apostrophe() -> None:
    for beginning in ("=", "+", "-", "@", "'"):
        assert f"`{beginning}`" in PAGE
