"""The tables of imports: what was sent, how far it is, and the rows that were refused."""

from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import msgspec
from sqlalchemy import CheckConstraint, Index, LargeBinary, String, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from saas.db.batch_items import OnConflict
from saas.db.imports.source import Format
from saas.db.models import TenantRow, reference, security

Mode = Literal["atomic", "partial"]
Status = Literal["running", "done", "failed", "interrupted"]

SILENT_SECONDS = 20
"""An import that nobody has said to be at work on for so long stands still: its process was killed,
or cannot reach the database."""


class Import(TenantRow):
    """One file on its way into a resource. Not audited: the rows that it writes are.

    `receiving` until the whole file is here, then `running`. `worker` is who may go on with it: who
    takes it up sets another one, and the one before notices at its next chunk. `position` is where
    the reader goes on, `next_chunk` with which chunk."""

    __tablename__ = "imports"
    __security__ = security(audited=False, portable="never")
    __table_args__ = (
        CheckConstraint("format IN ('csv', 'jsonl')", name="format"),
        CheckConstraint("mode IN ('atomic', 'partial')", name="mode"),
        CheckConstraint("on_conflict IN ('update', 'skip', 'error')", name="on_conflict"),
        CheckConstraint(
            "status IN ('receiving', 'running', 'done', 'failed', 'interrupted')", name="status"
        ),
        Index("ix_imports_digest", "tenant_id", "digest"),
    )

    resource: Mapped[str] = mapped_column(String(50))
    format: Mapped[str] = mapped_column(String(10))
    mode: Mapped[str] = mapped_column(String(10))
    on_conflict: Mapped[str] = mapped_column(String(10))
    dry_run: Mapped[bool]
    source: Mapped[dict[str, Any]] = mapped_column(JSONB)
    status: Mapped[str] = mapped_column(String(20))
    detail: Mapped[str | None]
    rows_read: Mapped[int] = mapped_column(server_default=text("0"))
    inserted: Mapped[int] = mapped_column(server_default=text("0"))
    updated: Mapped[int] = mapped_column(server_default=text("0"))
    skipped: Mapped[int] = mapped_column(server_default=text("0"))
    failed: Mapped[int] = mapped_column(server_default=text("0"))
    bytes_received: Mapped[int] = mapped_column(server_default=text("0"))
    bytes_expected: Mapped[int | None]
    digest: Mapped[bytes | None] = mapped_column(LargeBinary)
    chunks: Mapped[int] = mapped_column(server_default=text("0"))
    next_chunk: Mapped[int] = mapped_column(server_default=text("0"))
    position: Mapped[bytes | None] = mapped_column(LargeBinary)
    worker: Mapped[UUID] = mapped_column(Uuid)
    heartbeat_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    started_by: Mapped[str]
    started_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    finished_at: Mapped[datetime | None]


class ImportChunk(TenantRow):
    """A piece of the file as it was sent; gone with the transaction that has its rows."""

    __tablename__ = "import_chunks"
    __security__ = security(app=("SELECT", "INSERT", "DELETE"), audited=False, portable="never")
    __table_args__ = (
        Index("uq_import_chunks_number", "tenant_id", "import_id", "number", unique=True),
    )

    import_id: Mapped[UUID] = reference("imports")
    number: Mapped[int]
    data: Mapped[bytes] = mapped_column(LargeBinary)


class ImportErrorRow(TenantRow):
    """A row that was refused, and why. `source` is the row as it stands in the file."""

    __tablename__ = "import_errors"
    __security__ = security(app=("SELECT", "INSERT", "DELETE"), audited=False, portable="never")
    __table_args__ = (Index("ix_import_errors_line", "tenant_id", "import_id", "line", "id"),)

    import_id: Mapped[UUID] = reference("imports")
    line: Mapped[int]
    column: Mapped[str | None]
    value: Mapped[str | None]
    code: Mapped[str]
    reason: Mapped[str]
    source: Mapped[bytes] = mapped_column(LargeBinary)


class ImportRead(msgspec.Struct):
    """How an import stands. `bytes_received` of the file are safe; `detail` says why it failed or
    stands still."""

    id: UUID
    resource: str
    format: Format
    mode: Mode
    on_conflict: OnConflict
    dry_run: bool
    status: Status
    detail: str | None
    rows_read: int
    inserted: int
    updated: int
    skipped: int
    failed: int
    bytes_received: int
    heartbeat_at: datetime
    started_by: str
    started_at: datetime
    finished_at: datetime | None

    def __post_init__(self) -> None:
        if self.status in {"receiving", "running"}:
            silent = datetime.now(UTC) - self.heartbeat_at > timedelta(seconds=SILENT_SECONDS)
            self.status = "interrupted" if silent else "running"


class ImportErrorRead(msgspec.Struct):
    line: int
    column: str | None
    value: str | None
    code: str
    reason: str
