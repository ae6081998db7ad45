"""Rows of JSON lines (ndjson): one object a line, typed as strictly as the body of a create."""

from collections.abc import Iterator
from typing import Any

import msgspec

from saas.db.bulk_results import RowError, shown
from saas.db.bulk_target import BulkTarget
from saas.db.imports.cell_types import reason_column
from saas.db.imports.source import MAX_ROW_BYTES, Position, ReadRow, SourceOptions, too_long

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_decode = msgspec.json.Decoder().decode


class JsonLinesReader:
    def __init__(
        self, target: BulkTarget, options: SourceOptions, position: Position | None = None
    ) -> None:
        self.position = position or Position()
        self._columns = options.columns
        self._reason = reason_column(target)

    def read(self, piece: bytes, *, is_last: bool) -> Iterator[ReadRow]:
        """The rows that are whole by now; blank lines are none."""
        position = self.position
        text = position.carry + piece
        if position.line == 1:
            text = text.removeprefix(_BYTE_ORDER_MARK)
        *lines, rest = text.split(b"\n")
        position.carry = b""
        if is_last:
            lines.append(rest)
        else:
            position.carry = rest
        for text in lines:
            line, position.line = position.line, position.line + 1
            if position.is_skipping:
                position.is_skipping = False
            elif len(text) > MAX_ROW_BYTES:
                yield ReadRow(line, too_long(line), text[:MAX_ROW_BYTES])
            elif text and not text.isspace():
                yield ReadRow(line, self._values(line, text), text)
        if len(position.carry) > MAX_ROW_BYTES:
            if not position.is_skipping:
                yield ReadRow(position.line, too_long(position.line), position.carry)
            position.carry, position.is_skipping = b"", True

    def _values(self, line: int, text: bytes) -> Any:
        try:
            value = _decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            seen = shown(text.decode("utf-8", "replace"))
            return RowError(line, None, seen, "malformed", f"This is no JSON: {error}.")
        if not isinstance(value, dict):
            reason = "A row is a JSON object on a line of its own."
            return RowError(line, None, shown(value), "wrong_type", reason)
        value.pop(self._reason, None)
        if self._columns:
            value = {
                known: member
                for name, member in value.items()
                if (known := self._columns.get(name, name)) is not None
            }
        return value
