"""One document of figures, as JSON or as a file of two columns."""

from collections.abc import Iterator
from typing import Any

import msgspec

from saas.web import csv_answer
from saas.web.accepted import VARY_ACCEPT, preferred
from saas.web.answer import Answer, json_answer
from saas.web.csv_answer import Cell
from saas.web.routed import AnyRequest

FILES = (csv_answer.MEDIA_TYPE,)


def figures_answer(request: AnyRequest, name: str, figures: msgspec.Struct) -> Answer:
    """JSON, or where the request would rather have it, CSV with a line for each figure, named by
    where it stands: `resources.projects.total`."""
    if preferred(request, ("application/json", *FILES)) == csv_answer.MEDIA_TYPE:
        lines = _lines("", msgspec.to_builtins(figures))
        return csv_answer.csv_answer(name, ["figure", "value"], lines)
    return json_answer(figures, headers=[VARY_ACCEPT])


def _lines(path: str, value: Any) -> Iterator[list[Cell]]:
    if isinstance(value, dict):
        members = value.items()
    elif isinstance(value, list):
        members = {str(number): member for number, member in enumerate(value)}.items()
    else:
        yield [path, value]
        return
    for name, member in members:
        yield from _lines(f"{path}.{name}" if path else name, member)
