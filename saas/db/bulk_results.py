"""What an import takes row by row, and what it tells of them."""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import msgspec

_LONGEST_VALUE = 200


class RowError(msgspec.Struct, frozen=True):
    """Why one row is not in. `line` is where it begins in its source, counted from 1; `column` is
    the first that is wrong, and `value` what stands there, as text and cut where it is long. Both
    are None where the row as a whole is wrong. `code` is a stable word for programs."""

    line: int
    column: str | None
    value: str | None
    code: str
    reason: str


class SourceRow(NamedTuple):
    """A row as it came: its values by column, typed or not, or why it could not even be read."""

    line: int
    values: Mapping[str, Any] | msgspec.Struct | RowError


class ImportResult(msgspec.Struct):
    """`rows_read` is the sum of the four others; skipped are the rows that change nothing, and
    with on_conflict="skip" those that are there already."""

    inserted: int = 0
    updated: int = 0
    skipped: int = 0
    failed: int = 0
    errors: list[RowError] = []

    @property
    def rows_read(self) -> int:
        return self.inserted + self.updated + self.skipped + self.failed

    def add(self, other: "ImportResult") -> None:
        self.inserted += other.inserted
        self.updated += other.updated
        self.skipped += other.skipped
        self.failed += other.failed
        self.errors += other.errors

    def counts(self) -> "ImportResult":
        """The same without the errors, which may be many."""
        return ImportResult(self.inserted, self.updated, self.skipped, self.failed)

    def fail(self, error: RowError) -> None:
        self.failed += 1
        self.errors.append(error)


Values: TypeAlias = Mapping[str, Any]


def shown(value: Any) -> str | None:
    """A value for a RowError."""
    if value is None:
        return None
    return storable(value if isinstance(value, str) else _json(value), _LONGEST_VALUE)


def storable(text: str, most: int = 1_000) -> str:
    """At most so many characters of `text`, without those that PostgreSQL could not store."""
    text = text if len(text) <= most else f"{text[:most]}…"
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _json(value: Any) -> str:
    return msgspec.json.encode(value, enc_hook=str).decode().strip('"')
