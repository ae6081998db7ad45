"""`manifest.json`, the last member of an archive: what the archive holds, and how to prove it."""

import hashlib
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

FORMAT = 1
MEMBER = "manifest.json"


class ColumnEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    type: str


class TableEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`file` is the member with the rows: JSON lines by id, a row's columns in the order of
    `columns`. `sha256` is that of its bytes, as `sha256sum` prints it."""

    name: str
    file: str
    columns: list[ColumnEntry]
    rows: int
    bytes: int
    sha256: str

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`tables` stand parents first. `digest` is of all of them: two exports of which nothing has
    changed in between have the same. `tenant` is the tenant's own row, with the plan's slug, and
    `imports` are the log's entries of the imports before, which no table holds."""

    format: int
    schema_revision: str
    exported_at: datetime
    tenant: dict[str, Any]
    tables: list[TableEntry]
    imports: list[dict[str, Any]]
    digest: str


def digest_of(tables: Iterable[TableEntry]) -> str:
    """The SHA-256 of the lines `<sha256>  <file>`, as `sha256sum` prints them."""
    lines = "".join(f"{table.sha256}  {table.file}\n" for table in tables)
    return hashlib.sha256(lines.encode()).hexdigest()


def file_of(table: str) -> str:
    return f"{table}.jsonl"
