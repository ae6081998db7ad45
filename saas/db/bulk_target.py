"""What rows are imported into: the columns that an import may fill, and the type that checks them.

It is the type that checks the body of a create, so that a row is refused for the reasons of a POST.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from operator import attrgetter
from typing import Annotated, Any, NamedTuple, Protocol, TypeAlias
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from sqlalchemy import Column, String
from uuid_utils.compat import uuid7

from saas.db.bulk_results import RowError, SourceRow, Values, shown, storable
from saas.db.query_values import Refused, integer_bounds, storable_text
from saas.db.row_operations import RowOperations
from saas.db.value_faults import MISSING, field_error, unknown_field
from saas.errors import FieldError

Rows: TypeAlias = RowOperations[Any, Any]


class AnyRepository(Protocol):
    """A TenantRepository, of the async kind or the sync one."""

    @property
    def operations(self) -> Rows: ...


class Importable(Protocol):
    """A resource: a repository, and the type of the body of its create."""

    @property
    def repository(self) -> AnyRepository: ...

    @property
    def create(self) -> type[Struct]: ...


class CheckedRow(NamedTuple):
    """A row that may be written. `given` are the columns that stand in the source: an update
    changes these alone, while an insert has the others' defaults."""

    line: int
    id: UUID
    body: Struct
    given: tuple[str, ...]


class BulkTarget:
    """`is_lax` takes values for other types where they say the same: "12" for 12, 1 for true."""

    def __init__(self, rows: Rows, create: type[Struct], *, is_lax: bool = False) -> None:
        self.rows = rows
        self.create = create
        self.is_lax = is_lax
        self.fields = msgspec.structs.fields(create)
        self.columns = create.__struct_fields__
        self.ignored = frozenset(rows.columns) - set(self.columns)
        """What an export shows and no import can write: it is passed over when it comes back."""
        self._has_unset = any(field.default is UNSET for field in self.fields)
        self.key_of: Callable[[Struct], Any] = (
            attrgetter(*rows.natural_key) if rows.natural_key else lambda body: None
        )
        self._given: dict[tuple[str, ...], tuple[str, ...]] = {}

    def check(self, row: SourceRow) -> CheckedRow | RowError:
        """The row if it may be written as far as its own values tell, else why not."""
        values = row.values
        # To ask whether something is a Struct takes longer than to check a field.
        if type(values) is not dict:
            if isinstance(values, RowError):
                return values
            values = _values_of(values)
        if not self.ignored.isdisjoint(values):
            values = {name: value for name, value in values.items() if name not in self.ignored}
        try:
            body = msgspec.convert(values, self.create, strict=not self.is_lax)
        except msgspec.ValidationError as error:
            return self._refused(row.line, values, error)
        return CheckedRow(row.line, uuid7(), body, self._given_of(values))

    def refused(self, row: CheckedRow, faults: list[FieldError]) -> RowError:
        """What the database has against a row. `faults` name the columns, but for a text that it
        cannot store."""
        values = {name: getattr(row.body, name) for name in self.columns}
        if not faults[0].pointer:
            column = next((name for name, value in values.items() if _is_unstorable(value)), "")
            faults = [faults[0]._replace(pointer=f"/{column}" if column else "")]
        return row_error(row.line, values, faults)

    def filled(self, row: CheckedRow) -> tuple[str, ...]:
        """The columns that an insert of this row has values for."""
        if not self._has_unset:
            return self.columns
        return tuple(name for name in self.columns if getattr(row.body, name) is not UNSET)

    def _given_of(self, values: Values) -> tuple[str, ...]:
        names = tuple(values)
        given = self._given.get(names)
        if given is None:
            if len(self._given) > 1_000:
                self._given.clear()
            given = self._given[names] = tuple(name for name in self.columns if name in values)
        return given

    def _refused(self, line: int, values: Values, first: msgspec.ValidationError) -> RowError:
        return row_error(
            line, values, list(self._faults(values)) or [field_error(str(first), self.create)]
        )

    def _faults(self, values: Values) -> Iterator[FieldError]:
        for field in self.fields:
            if field.name not in values:
                if field.required:
                    yield MISSING._replace(pointer=f"/{field.name}")
                continue
            try:
                msgspec.convert(values[field.name], field.type, strict=not self.is_lax)
            except msgspec.ValidationError as error:
                yield field_error(str(error), field.type, f"/{field.name}")
        for name in values:
            if name not in self.columns:
                yield unknown_field(f"/{name}", self.create)


def _values_of(values: Values | Struct) -> Values:
    if not isinstance(values, Struct):
        return dict(values)
    names = values.__struct_fields__
    return {name: value for name in names if (value := getattr(values, name)) is not UNSET}


def row_error(line: int, values: Values, faults: list[FieldError]) -> RowError:
    """One error for one row: the first fault, whose reason tells of the others too."""
    first, *others = faults
    column = _column(first)
    also = "".join(f" Also {_column(fault)}: {fault.message}" for fault in others)
    value = shown(values.get(column)) if column else None
    name = column and storable(column)
    return RowError(line, name, value, first.code, storable(f"{first.message}{also}"))


def _is_unstorable(value: Any) -> bool:
    try:
        if isinstance(value, str):
            storable_text(value)
    except Refused:
        return True
    return False


def _column(fault: FieldError) -> str | None:
    return fault.pointer.removeprefix("/").partition("/")[0] or None


def bulk_target(
    source: Importable | AnyRepository | BulkTarget, *, is_lax: bool = False
) -> BulkTarget:
    """What a resource takes. A repository alone takes what the types of its columns allow."""
    if isinstance(source, BulkTarget):
        return source
    operations = getattr(source, "operations", None)
    if operations is not None:
        return BulkTarget(operations, _body_of(operations), is_lax=is_lax)
    # Any: a protocol cannot be told apart at run time by what it lacks.
    resource: Any = source
    return BulkTarget(resource.repository.operations, resource.create, is_lax=is_lax)


def _body_of(rows: Rows) -> type[Struct]:
    columns = [column for column in rows.table.c if column.name in rows.writable]
    return msgspec.defstruct(
        f"{rows.table.name.title()}Row",
        [_field(column) for column in columns],
        kw_only=True,
        forbid_unknown_fields=True,
    )


def _field(column: Column[Any]) -> Any:
    kind = _type_of(column)
    if column.nullable:
        return column.name, kind | None, None
    if column.server_default is not None:
        return column.name, kind | UnsetType, UNSET
    return column.name, kind


def _type_of(column: Column[Any]) -> Any:
    python_type = column.type.python_type
    if python_type is int:
        least, most = integer_bounds(column)
        return Annotated[int, Meta(ge=least, le=most)]
    if python_type is datetime:
        return Annotated[datetime, Meta(tz=True)]
    if isinstance(column.type, String) and column.type.length:
        return Annotated[str, Meta(max_length=column.type.length)]
    return Any if python_type in {dict, list} else python_type
