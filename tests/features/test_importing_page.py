"""docs/importing.md, followed to the letter."""

import json
import re
from pathlib import Path
from typing import Any

from importing import bad_rows_of, errors_of, imported

PAGE = (Path(__file__).parents[2] / "docs" / "importing.md").read_text(encoding="utf-8")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)


async def test_the_page_says_what_happens(tenant: Any) -> None:
    file, bad_rows = blocks("csv")
    record, errors = map(json.loads, blocks("json"))

    done = await imported(tenant, file, on_conflict="update")

    assert {name: done[name] for name in record} == record
    assert await errors_of(tenant, done["id"]) == errors
    assert (await bad_rows_of(tenant, done["id"])).splitlines() == bad_rows.splitlines()


def test_every_parameter_is_on_the_page(app: Any) -> None:
    (handler,) = (
        handler
        for route in app.app.routes
        if route.path == "/v1/projects/import"
        for handler in route.route_handlers
        if "POST" in handler.http_methods
    )

    names = {parameter["name"] for parameter in handler.opt["parameters"]}

    assert names == set(re.findall(r"^\| `(\w+)", PAGE, re.MULTILINE))
