"""How a file is to be read, and how far it has been: what every reader of a format shares."""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from saas.db.bulk_results import RowError, Values

MAX_ROW_BYTES = 1024 * 1024
"""Of one row as it stands in the file. A longer one is an error of its own; the next is read."""

Format = Literal["csv", "jsonl"]


class SourceOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`encoding` and `delimiter` are those of CSV. `columns` names the resource's column for names
    of the file that differ, None for what is to be left out."""

    format: Format
    encoding: str = "utf-8"
    delimiter: str = ","
    columns: dict[str, str | None] = {}


class Position(msgspec.Struct, kw_only=True):
    """Between two pieces of a file. `line` is the next one to be read, `carry` the part of the last
    piece that was not a whole row yet, `undecoded` of the last piece not a whole character.
    `header` is that of CSV. With `is_skipping` the rest of a line that is too long passes by."""

    line: int = 1
    carry: bytes = b""
    undecoded: bytes = b""
    header: list[str] | None = None
    is_skipping: bool = False


class ReadRow(NamedTuple):
    """One row of the file: its values, or why it has none, and the row as it stands there."""

    line: int
    values: Values | RowError
    source: list[str] | bytes


class Reader(Protocol):
    """Reads a file piece by piece, wherever the pieces begin. `position` is right once all rows of
    a piece were taken; a reader that is made with it goes on there."""

    position: Position

    def read(self, piece: bytes, *, is_last: bool) -> Iterator[ReadRow]: ...


class HeaderFault(Exception):
    """What is wrong with the header, by the pointer of a field error."""

    def __init__(self, faults: dict[str, Any]) -> None:
        super().__init__(faults)
        self.faults = faults


def too_long(line: int) -> RowError:
    size = MAX_ROW_BYTES // 1024
    return RowError(line, None, None, "too_long", f"A row may have {size} KiB and no more.")
