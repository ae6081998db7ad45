"""Rows as lines of a file: CSV for spreadsheets and imports, or JSON lines as the API has them."""

import csv
from collections.abc import Callable, Mapping, Sequence
from io import StringIO
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Table

from saas.db.cells import text_cell

Rows = Sequence[msgspec.Struct]

_encoder = msgspec.json.Encoder()


class Layout(NamedTuple):
    """The first line of a file, if it has one, and what makes the lines of some rows."""

    head: bytes
    lines: Callable[[Rows], bytes]


class Format(NamedTuple):
    """A kind of file; `layout` is of rows with these columns of a table."""

    suffix: str
    media_type: str
    layout: Callable[[Table, Sequence[str]], Layout]


def _csv(table: Table, columns: Sequence[str]) -> Layout:
    """RFC 4180 in UTF-8, without a byte order mark; `cells` says what texts become. Times, ids
    and numbers are as in JSON, and what is a document there is its JSON here."""
    cells = [(place, cell) for place, name in enumerate(columns) if (cell := _cell_of(table, name))]

    def lines(rows: Rows) -> bytes:
        values = [list(msgspec.to_builtins(msgspec.structs.astuple(row))) for row in rows]
        for row in values:
            for place, cell in cells:
                row[place] = cell(row[place])
        return _csv_lines(values)

    return Layout(_csv_lines([columns]), lines)


def _csv_lines(values: Sequence[Sequence[Any]]) -> bytes:
    written = StringIO()
    csv.writer(written).writerows(values)
    return written.getvalue().encode()


def _cell_of(table: Table, column: str) -> Callable[[Any], str | None] | None:
    """What makes the cell of a value that csv would not write as it should be."""
    python_type = table.c[column].type.python_type
    return _document if issubclass(python_type, dict | list) else _CELLS.get(python_type)


def _document(value: Any) -> str | None:
    return None if value is None else _encoder.encode(value).decode()


def _text(value: str | None) -> str | None:
    return None if value is None else text_cell(value)


_CELLS: Mapping[type, Callable[[Any], str | None]] = {
    str: _text,
    bool: {True: "true", False: "false"}.get,
}


def _json_lines(_: Table, __: Sequence[str]) -> Layout:
    return Layout(b"", _encoder.encode_lines)


FORMATS: Mapping[str, Format] = {
    "csv": Format("csv", "text/csv; charset=utf-8", _csv),
    "jsonl": Format("jsonl", "application/x-ndjson", _json_lines),
}
