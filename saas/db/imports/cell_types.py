"""The cells of a CSV row as values of the resource's columns."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec
from msgspec import inspect

from saas.db.bulk_results import RowError, Values, shown
from saas.db.bulk_target import BulkTarget
from saas.db.cells import cell_text
from saas.db.imports.source import HeaderFault
from saas.db.imports.text import BAD_BYTES
from saas.db.inspected_types import members

_BAD_NAME = "It is not in the encoding of the file: say which that is by its charset."
_INTEGER = re.compile(r"-?[0-9]{1,20}", re.ASCII).fullmatch
_BOOLEANS = {
    **dict.fromkeys(("true", "t", "yes", "1"), True),
    **dict.fromkeys(("false", "f", "no", "0"), False),
}


def reason_column(target: BulkTarget) -> str:
    """The column that a list of refused rows has more than the file they came from. It is passed
    over when they come back."""
    return "reason" if "reason" not in target.columns else "import_reason"


def heading(cell: str) -> str:
    """The name in a cell of the first row."""
    name = cell.strip()
    return cell_text(name) if name else name


class _Cell(NamedTuple):
    """`value` makes the value of a cell that is not empty. An empty one is null where the column
    may be null, else as if it were not there."""

    name: str
    value: Callable[[str], Any]
    is_nullable: bool


class CellTypes:
    """One header's columns. Raises HeaderFault for an unknown column, one that stands twice, and a
    required one that is missing."""

    def __init__(
        self, target: BulkTarget, columns: Mapping[str, str | None], header: Sequence[str]
    ) -> None:
        fields = {field.name: field for field in target.fields}
        header = [heading(cell) for cell in header]
        names = [_column_of(name, columns, target) for name in header]
        _check(names, header, columns, target)
        self._width = len(names)
        self._cells = [_cell(fields[name]) if name in fields else None for name in names]

    def values(self, line: int, cells: list[str]) -> Values | RowError:
        if len(cells) != self._width:
            reason = f"The row has {len(cells)} cells, the header has {self._width}."
            return RowError(line, None, shown(cells[0]), "wrong_cell_count", reason)
        values: dict[str, Any] = {}
        for kind, cell in zip(self._cells, cells, strict=True):
            if kind is None:
                continue
            if not cell:
                if kind.is_nullable:
                    values[kind.name] = None
                continue
            if BAD_BYTES in cell:
                reason = "The text is not in the encoding of the file."
                return RowError(line, kind.name, shown(cell), "invalid_encoding", reason)
            values[kind.name] = kind.value(cell)
        return values


def _column_of(name: str, columns: Mapping[str, str | None], target: BulkTarget) -> str | None:
    """What a column of the file is called here; None if it is left out."""
    if name in columns:
        return columns[name]
    if name in target.columns:
        return name
    return None if name in target.ignored or name == reason_column(target) else name


def _check(
    names: Sequence[str | None],
    header: Sequence[str],
    columns: Mapping[str, str | None],
    target: BulkTarget,
) -> None:
    faults: dict[str, Any] = {}
    allowed = ", ".join(target.columns)
    # A header may have a hundred thousand columns: none of them is looked for in a list.
    times, headings = Counter(names), frozenset(header)
    for name, given in zip(names, header, strict=True):
        if BAD_BYTES in given:
            faults[given] = ("invalid_encoding", _BAD_NAME)
        elif name is not None and name not in target.columns:
            faults[given] = ("unknown_field", f"There is no such column. There are: {allowed}.")
        elif name is not None and times[name] > 1:
            faults[given] = ("duplicate", f"Several columns are {name}.")
    for field in target.fields:
        if field.required and field.name not in times:
            faults[field.name] = ("missing_field", "The header lacks this column.")
    for given in columns:
        if given not in headings:
            faults[given] = ("unknown_column", "It is mapped, but the header lacks it.")
    if faults:
        raise HeaderFault(faults)


def _cell(field: msgspec.structs.FieldInfo) -> _Cell:
    kinds = members(field.type)
    is_nullable = any(isinstance(one, inspect.NoneType) for one in kinds)
    return _Cell(field.name, _reader(kinds), is_nullable)


def _reader(kinds: Sequence[inspect.Type]) -> Callable[[str], Any]:
    kinds = [kind for kind in kinds if not isinstance(kind, inspect.NoneType)]
    if any(_is_text(kind) for kind in kinds):
        return cell_text
    # What is neither a text nor one of these is a JSON document.
    return _READERS.get(type(kinds[0]), _document) if len(kinds) == 1 else _document


def _is_text(kind: inspect.Type) -> bool:
    values = kind.values if isinstance(kind, inspect.LiteralType) else ()
    return isinstance(kind, inspect.StrType) or any(isinstance(value, str) for value in values)


def _integer(cell: str) -> Any:
    return int(cell) if _INTEGER(cell) else cell


def _number(cell: str) -> Any:
    try:
        return float(cell)
    except ValueError:
        return cell


def _boolean(cell: str) -> Any:
    return _BOOLEANS.get(cell.casefold(), cell)


def _document(cell: str) -> Any:
    with suppress(msgspec.DecodeError):
        return msgspec.json.decode(cell)
    return cell


_READERS: Mapping[type[inspect.Type], Callable[[str], Any]] = {
    inspect.IntType: _integer,
    inspect.LiteralType: _integer,
    inspect.FloatType: _number,
    inspect.BoolType: _boolean,
    # They stand as texts in JSON too: the type itself reads them.
    **dict.fromkeys(
        (
            inspect.DateTimeType,
            inspect.DateType,
            inspect.TimeType,
            inspect.TimeDeltaType,
            inspect.UUIDType,
            inspect.DecimalType,
            inspect.BytesType,
            inspect.EnumType,
        ),
        cell_text,
    ),
}
