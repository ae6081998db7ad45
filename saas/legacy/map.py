"""The map of a migration: which table goes into which resource, and what becomes of each column.
docs/migrating-from.md tells it to whoever writes one."""

from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct

from saas.errors import ConfigurationError


class ColumnMap(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a value comes from, and the steps on its way, in this order. A step that is not named
    does nothing; null passes through all of them but `call` and `default`."""

    from_: str | list[str] | None = msgspec.field(default=None, name="from")
    const: Any = UNSET
    call: str | None = None
    join: str | None = None
    text: bool = False
    strip: bool = False
    lower: bool = False
    trim: int | None = None
    null: list[str] = []
    values: dict[str, Any] | None = None
    otherwise: Any = UNSET
    date: str | None = None
    time: str | None = None
    zone: str = "UTC"
    cents: bool = False
    default: Any = UNSET
    lookup: str | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        """The columns of the source that it is made of."""
        if self.from_ is None:
            return ()
        return (self.from_,) if isinstance(self.from_, str) else tuple(self.from_)


class TableMap(Struct, frozen=True, forbid_unknown_fields=True):
    """One table or view of the source. It is read in the order of `key`, which is unique."""

    source: str
    key: str | list[str]
    resource: str
    columns: dict[str, str | ColumnMap]
    schema: str | None = None
    on_conflict: Literal["error", "skip", "update"] = "error"

    @property
    def key_columns(self) -> tuple[str, ...]:
        return (self.key,) if isinstance(self.key, str) else tuple(self.key)

    @property
    def column_maps(self) -> dict[str, ColumnMap]:
        """The maps by column of the resource; a bare name is what it comes from."""
        return {
            name: ColumnMap(from_=column) if isinstance(column, str) else column
            for name, column in self.columns.items()
        }


class Map(Struct, frozen=True, forbid_unknown_fields=True):
    """Tables are copied in their order, so that references find their parents."""

    tables: list[TableMap] = msgspec.field(name="table")


def read_map(path: Path) -> Map:
    """Raises ConfigurationError, naming the place, for what is no map."""
    try:
        found = msgspec.toml.decode(path.read_bytes(), type=Map)
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}") from None
    if not found.tables or not all(table.key_columns and table.columns for table in found.tables):
        raise ConfigurationError(f"{path}: give at least one [[table]], with a key and columns")
    return found
