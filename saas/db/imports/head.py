"""The beginning of a file: what it is written in, and whether its header can be right."""

import csv
import io
from collections.abc import Mapping
from itertools import islice

import msgspec

from saas.db.bulk_target import BulkTarget
from saas.db.imports.cell_types import heading
from saas.db.imports.piece import reader_for
from saas.db.imports.source import Format, HeaderFault, Position, SourceOptions
from saas.db.imports.text import BAD_BYTES, KNOWN_ENCODINGS, decode, encoding_of
from saas.db.value_faults import named_step
from saas.errors import BadRequest, FieldError, Invalid, UnsupportedMediaType

_DELIMITERS = ",;\t|"
# Of a header that has nothing to do with the resource nobody reads more.
_MOST_FAULTS = 50


class SourceWish(msgspec.Struct, frozen=True, kw_only=True):
    """What the sender says of a file. What is left out is seen from the file itself."""

    format: Format
    charset: str | None = None
    delimiter: str | None = None
    columns: Mapping[str, str | None] = {}


def settled(wish: SourceWish, target: BulkTarget, head: bytes, *, is_all: bool) -> SourceOptions:
    """How to read the file that begins with `head`. Raises UnsupportedMediaType for an unknown
    charset, Invalid for a header that does not name columns of `target`, or none."""
    if wish.format == "jsonl":
        if wish.charset is not None and wish.charset.lower() not in {"utf-8", "utf8"}:
            raise UnsupportedMediaType("JSON lines are UTF-8 (RFC 8259, 8.1).")
        return SourceOptions(format="jsonl", columns=dict(wish.columns))
    encoding = encoding_of(head, wish.charset)
    if encoding is None:
        known = ", ".join(KNOWN_ENCODINGS)
        raise UnsupportedMediaType(f"This charset is not known here. Known: {known}.")
    text, _ = decode(b"", head, encoding, is_last=is_all)
    options = SourceOptions(
        format="csv",
        encoding=encoding,
        delimiter=wish.delimiter or _delimiter_of(text, target, wish.columns),
        columns=dict(wish.columns),
    )
    _check_header(target, options, head, is_all=is_all)
    return options


def checked_delimiter(text: str) -> str:
    """Raises BadRequest for what no cells can be told apart by."""
    if len(text) != 1 or not text.isascii() or text in '"\r\n\x00':
        raise BadRequest("The delimiter is one ASCII character, and no quote or line end.")
    return text


def _delimiter_of(text: str, target: BulkTarget, columns: Mapping[str, str | None]) -> str:
    """The one that makes most of the first row into names that are known."""
    known = {*target.columns, *target.ignored, *columns}

    def names(delimiter: str) -> int:
        lines = io.StringIO(text.removeprefix("\ufeff"), newline="")
        try:
            header = next((row for row in csv.reader(lines, delimiter=delimiter) if row), [])
        except csv.Error:
            return 0
        return sum(heading(name) in known for name in header)

    return max(_DELIMITERS, key=names)


def _check_header(target: BulkTarget, options: SourceOptions, head: bytes, *, is_all: bool) -> None:
    reader = reader_for(target, options, Position())
    try:
        row = next(iter(reader.read(head, is_last=is_all)), None)
    except HeaderFault as refused:
        faults = [
            FieldError(_pointer(name), code, message)
            for name, (code, message) in islice(refused.faults.items(), _MOST_FAULTS)
        ]
        raise Invalid(
            "The first row does not name the columns. See errors.", errors=faults
        ) from None
    if reader.position.header is None:
        # What came before any header can only be a line that is no CSV.
        fault = "There is none." if row is None else "It is no CSV."
        raise Invalid(f"The first row has to name the columns. {fault}")


def _pointer(name: str) -> str:
    # The mark has no UTF-8 form, and so no answer could hold it.
    return "/" + named_step(name.replace(BAD_BYTES, "\ufffd"))
