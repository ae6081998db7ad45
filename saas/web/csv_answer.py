"""Lines as a file of CSV (RFC 4180, UTF-8), for what is small enough to be in memory."""

import csv
from collections.abc import Iterable, Sequence
from datetime import datetime
from io import StringIO

import msgspec

from saas.db.cells import text_cell
from saas.web.accepted import VARY_ACCEPT
from saas.web.answer import Answer
from saas.web.slow_answer import SlowAnswer

MEDIA_TYPE = "text/csv"
Cell = str | int | float | datetime | None


def csv_answer(name: str, head: Sequence[str], lines: Iterable[Sequence[Cell]]) -> Answer:
    """The file `name`. Times are as in JSON, and no spreadsheet takes a text for a formula
    (docs/exporting.md)."""
    return Answer(200, _file(head, lines), [*_headers(name)])


def slow_csv_answer(name: str, head: Sequence[str], lines: Iterable[Sequence[Cell]]) -> SlowAnswer:
    """The same for what may be a hundred thousand lines, two microseconds each."""
    return SlowAnswer(_headers(name), lambda: _file(head, lines))


def _file(head: Sequence[str], lines: Iterable[Sequence[Cell]]) -> bytes:
    written = StringIO()
    writer = csv.writer(written)
    writer.writerow(head)
    writer.writerows([_cell(cell) for cell in line] for line in lines)
    return written.getvalue().encode()


def _headers(name: str) -> tuple[tuple[bytes, bytes], ...]:
    return (
        (b"content-type", f"{MEDIA_TYPE}; charset=utf-8".encode()),
        (b"content-disposition", f'attachment; filename="{name}.csv"'.encode()),
        VARY_ACCEPT,
    )


def _cell(value: Cell) -> str | int | float | None:
    if isinstance(value, datetime):
        text: str = msgspec.to_builtins(value)
        return text
    return text_cell(value) if isinstance(value, str) else value
