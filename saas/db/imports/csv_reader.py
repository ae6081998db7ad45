"""Rows of CSV, as Python's csv module reads them in its strict mode, from pieces of a file.

A line that is no CSV costs that one row: reading goes on at the next line. docs/importing.md says
how cells become values.
"""

import csv
import io
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, NamedTuple

from saas.db.bulk_results import RowError, shown
from saas.db.bulk_target import BulkTarget
from saas.db.imports.cell_types import CellTypes
from saas.db.imports.source import MAX_ROW_BYTES, Position, ReadRow, SourceOptions, too_long
from saas.db.imports.text import decode

# The csv module's words for a quote that is still open.
_OPEN_QUOTE = "unexpected end of data"
# Of the process: a cell may be as long as a row.
csv.field_size_limit(MAX_ROW_BYTES)


class CsvReader:
    """Raises HeaderFault where the first row does not name columns of `target`."""

    def __init__(
        self, target: BulkTarget, options: SourceOptions, position: Position | None = None
    ) -> None:
        self.position = position or Position()
        self._target = target
        self._options = options
        self._cells: CellTypes | None = None
        if self.position.header is not None:
            self._cells = CellTypes(target, options.columns, self.position.header)

    def read(self, piece: bytes, *, is_last: bool) -> Iterator[ReadRow]:
        """The rows that are whole by now; blank lines are none."""
        for line, cells in self._records(self._lines(piece, is_last), is_last):
            if isinstance(cells, ReadRow):
                yield cells
            elif not cells:
                continue
            elif self._cells is None:
                self._cells = CellTypes(self._target, self._options.columns, cells)
                self.position.header = cells
            else:
                yield ReadRow(line, self._cells.values(line, cells), cells)

    def _lines(self, piece: bytes, is_last: bool) -> list[str]:
        """The lines that are whole, with their ends; the rest is carried over."""
        position = self.position
        text, position.undecoded = decode(
            position.undecoded, piece, self._options.encoding, is_last=is_last
        )
        if position.header is None and not position.carry:
            text = text.removeprefix("\ufeff")
        carried = position.carry.decode("utf-8", "surrogatepass")
        # As open(newline="") splits, which is what the csv module asks for.
        lines = list(io.StringIO(carried + text, newline=""))
        position.carry = b""
        if lines and not is_last and not lines[-1].endswith("\n"):
            # Perhaps half a line, perhaps half a line end.
            position.carry = _bytes(lines.pop())
        return lines

    def _records(
        self, lines: list[str], is_last: bool
    ) -> Iterator[tuple[int, list[str] | ReadRow]]:
        position, done = self.position, 0
        if position.is_skipping and lines:
            position.is_skipping, done = False, 1
        first = position.line
        doom = _Doom(0, "")
        sizes: list[int] = []
        while done < len(lines):
            begin, is_doomed = done, done < doom.until
            end = begin + 1 if is_doomed else len(lines)
            reader = self._reader(lines, begin, end)
            try:
                for cells in reader:
                    yield first + done, cells
                    done = begin + reader.line_num
            except csv.Error as error:
                fault, is_open = str(error), _OPEN_QUOTE in str(error)
                if not is_doomed:
                    doom = _Doom(end if is_open else begin + reader.line_num - 1, fault)
                elif is_open:
                    fault = doom.fault
                if not is_last and _OPEN_QUOTE in fault:
                    sizes = sizes or _sizes(lines)
                    if sizes[done] + len(position.carry) <= MAX_ROW_BYTES:
                        position.carry = _bytes("".join(lines[done:])) + position.carry
                        break
                yield first + done, _malformed(first + done, lines[done], fault)
                done += 1
        position.line = first + done
        yield from self._without_end()

    def _without_end(self) -> Iterator[tuple[int, ReadRow]]:
        """A line that is too long already, of which more is to come."""
        position = self.position
        if len(position.carry) > MAX_ROW_BYTES:
            if not position.is_skipping:
                yield position.line, ReadRow(position.line, too_long(position.line), [])
            position.carry, position.is_skipping = b"", True

    def _reader(self, lines: list[str], begin: int, end: int) -> Any:
        # No slice: there may be as many readers as lines.
        some = map(lines.__getitem__, range(begin, end))
        return csv.reader(some, strict=True, delimiter=self._options.delimiter)


class _Doom(NamedTuple):
    """A row that was read in vain had a quote open at the end of each of its lines, until the one
    where it failed. So no row that begins in one of these and is open at its end needs to be
    followed any further: it fails there too, with the same fault."""

    until: int
    fault: str


def _sizes(lines: list[str]) -> list[int]:
    """How many bytes there are from each line on."""
    return list(accumulate(len(_bytes(line)) for line in reversed(lines)))[::-1]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _malformed(line: int, text: str, reason: str) -> ReadRow:
    text = text.rstrip("\r\n")
    error = RowError(line, None, shown(text), "malformed", f"This is no CSV: {reason}.")
    return ReadRow(line, error, [text])
