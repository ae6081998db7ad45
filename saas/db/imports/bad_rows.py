"""The refused rows of an import as a CSV file: the columns of the file they came from, and why, so
that they can be corrected and sent again."""

import csv
import io
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any

import msgspec

from saas import context
from saas.db.bulk_target import BulkTarget
from saas.db.cells import cell_text, text_cell
from saas.db.imports.cell_types import reason_column
from saas.db.imports.errors import cells_of
from saas.db.imports.record import ImportRecord
from saas.db.imports.tables import ImportErrorRow
from saas.db.repository import TenantRepository
from saas.db.where import where

# A number may begin like a formula.
_NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]+)?", re.ASCII).fullmatch
_ROWS = 200


class _BadRow(msgspec.Struct):
    line: int
    column: str | None
    reason: str
    source: bytes


_bad_rows: TenantRepository[ImportErrorRow, _BadRow] = TenantRepository(ImportErrorRow, _BadRow)


async def bad_rows_csv(record: ImportRecord, target: BulkTarget) -> AsyncGenerator[bytes, None]:
    """The file, read from the current transaction while it is asked for, some hundred rows a piece;
    before each the caller's leave is asked for again (`context.require_admission`)."""
    name = reason_column(target)
    header = list(record.go_on_at().header or target.columns)
    read = _cells_of_csv if record.options.format == "csv" else _cells_of_json(target)
    places = [place for place, column in enumerate(header) if column.strip() != name]
    lines = [[*(_safe(header[place]) for place in places), name]]
    rows = _bad_rows.stream(where(import_id=record.id, sort="line"), batch=_ROWS)
    async with aclosing(rows):
        async for row in rows:
            cells = _fitted(read(row.source), len(header), record.options.delimiter)
            why = row.reason if row.column is None else f"{row.column}: {row.reason}"
            lines.append([*(_safe(cells[place]) for place in places), text_cell(why)])
            if len(lines) >= _ROWS:
                yield _csv(lines)
                lines.clear()
                await context.require_admission()
    yield _csv(lines)


def _cells_of_csv(source: bytes) -> list[str]:
    return cells_of(source)


def _cells_of_json(target: BulkTarget) -> Callable[[bytes], list[str]]:
    def cells(source: bytes) -> list[str]:
        try:
            row = msgspec.json.decode(source, type=dict[str, Any])
            return [_cell(row.get(column)) for column in target.columns]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return [source.decode("utf-8", "replace")]

    return cells


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return text_cell(value) if isinstance(value, str) else msgspec.json.encode(value).decode()


def _fitted(cells: Sequence[str], width: int, delimiter: str) -> list[str]:
    """As many cells as the header has; of a row with more the last one holds the rest."""
    if len(cells) <= width:
        return [*cells, *([""] * (width - len(cells)))]
    return [*cells[: width - 1], delimiter.join(cells[width - 1 :])]


def _safe(cell: str) -> str:
    """The same cell for an import, and no formula for a spreadsheet."""
    return cell if not cell or _NUMBER(cell) else text_cell(cell_text(cell))


def _csv(lines: Sequence[Sequence[str]]) -> bytes:
    written = io.StringIO()
    csv.writer(written).writerows(lines)
    return written.getvalue().encode()
