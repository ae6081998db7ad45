"""What was asked of an import, and what whoever works on it has to know."""

from typing import Any
from uuid import UUID

import msgspec

from saas.db.batch_items import OnConflict
from saas.db.imports.source import Position, SourceOptions
from saas.db.imports.tables import Mode


class ImportOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for."""

    resource: str
    source: SourceOptions
    on_conflict: OnConflict = "error"
    mode: Mode = "partial"
    dry_run: bool = False


class ImportRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What whoever works on an import has to know of it. `source` are its SourceOptions and, beside
    them, `again`, which its digest must not depend on."""

    id: UUID
    resource: str
    on_conflict: OnConflict
    mode: Mode
    dry_run: bool
    source: dict[str, Any]
    status: str
    worker: UUID
    chunks: int
    next_chunk: int
    position: bytes | None
    digest: bytes | None
    bytes_received: int
    bytes_expected: int | None
    failed: int

    @property
    def options(self) -> SourceOptions:
        return msgspec.convert(self.source, SourceOptions)

    @property
    def asked(self) -> ImportOptions:
        return ImportOptions(
            resource=self.resource,
            source=self.options,
            on_conflict=self.on_conflict,
            mode=self.mode,
            dry_run=self.dry_run,
        )

    @property
    def is_again(self) -> bool:
        """Whether it goes in though the same file was sent for the same before."""
        return bool(self.source.get("again"))

    @property
    def is_whole(self) -> bool:
        """Whether its rows go in together or not at all."""
        return self.mode == "atomic" or self.dry_run

    @property
    def is_received(self) -> bool:
        return self.digest is not None

    def go_on_at(self) -> Position:
        if self.position is None:
            return Position()
        return msgspec.msgpack.decode(self.position, type=Position)
