"""The audit log as the app sees it: a table of its own tenant that it can only read."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import CheckConstraint, Index, Integer, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from saas.db.audit_entries import AuditEntries
from saas.db.models import HOLDS_ACTOR, HOLDS_ID, TenantRow, security, table_of


class AuditLog(TenantRow):
    """Written by triggers and functions of the owner alone; `id` is time-ordered (UUIDv7), so it is
    the order of entries."""

    __tablename__ = "audit_log"
    __security__ = security(app=("SELECT",), audited=False)
    __table_args__ = (Index("ix_audit_log_entity", "tenant_id", "entity", "entity_id", "id"),)

    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(info=HOLDS_ACTOR)
    request_id: Mapped[str | None]
    ip: Mapped[str | None]
    action: Mapped[str]
    entity: Mapped[str]
    entity_id: Mapped[UUID] = mapped_column(info=HOLDS_ID)
    changes: Mapped[dict[str, Any]]


class AuditSet(TenantRow):
    """The entries of up to a hundred rows that one INSERT or UPDATE made or changed, as one row,
    which takes a quarter of the room or less. Written by the triggers alone (`audit_inserted.py`,
    `audit_many_updated.py`), read as single entries (`audit_entries.py`). Its `id` is that of its
    first entry, from which the others count up in the order of `ids`; `columns` has the values of
    each column in that order. Of new rows, unless it has those of `version`, what else is in them
    follows from the set. Of changed ones it has the columns that changed in any of them, and
    `old_columns` the values before: where both are alike, the row kept its own."""

    __tablename__ = "audit_sets"
    # Archives hold its entries as those of the log.
    __security__ = security(app=("SELECT",), audited=False, portable="never")
    __table_args__ = (
        Index("ix_audit_sets_entity", "tenant_id", "entity", "first_id", "last_id"),
        CheckConstraint("cardinality(ids) = size", name="size"),
    )

    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(info=HOLDS_ACTOR)
    request_id: Mapped[str | None]
    ip: Mapped[str | None]
    action: Mapped[str] = mapped_column(server_default="insert")
    entity: Mapped[str]
    size: Mapped[int] = mapped_column(Integer)
    first_id: Mapped[UUID] = mapped_column(info=HOLDS_ID)
    """The least of the rows' ids, `last_id` the greatest."""
    last_id: Mapped[UUID] = mapped_column(info=HOLDS_ID)
    ids: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid()), server_default=text("'{}'::uuid[]"))
    columns: Mapped[dict[str, list[Any]]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
    old_columns: Mapped[dict[str, list[Any]] | None] = mapped_column(JSONB)
    """Of changed rows."""
    rows: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, server_default=text("'[]'::jsonb"))
    """Empty, and read by nothing. It goes once no process of the version before does."""


AuditLog.__source__ = AUDIT_ENTRIES = AuditEntries(table_of(AuditLog), table_of(AuditSet))


class AuditEntry(msgspec.Struct):
    """`action` is insert, update, delete, soft_delete or restore; of the entity `tenants` also
    access (an operator enters the tenant: docs/tenant-life.md) and import (which brought the whole
    tenant here: docs/moving-a-tenant.md). `changes` maps each changed field to its old and new
    value, though the log holds them as {"old": {…}, "new": {…}}. Where it has `is_new`, the version
    and the authors and times of a new row follow from the entry."""

    id: UUID
    at: datetime
    actor: str
    request_id: str | None
    ip: str | None
    action: str
    entity: str
    entity_id: UUID
    changes: dict[str, dict[str, Any]]

    def __post_init__(self) -> None:
        old, new = self.changes.get("old") or {}, self.changes["new"] or {}
        if "is_new" in self.changes:
            time = _as_in_jsonb(self.at)
            new |= {"version": 1, "created_at": time, "created_by": self.actor}
            new |= {"updated_at": time, "updated_by": self.actor}
        self.changes = {
            field: {"old": old.get(field), "new": new.get(field)}
            for field in old | new
            if old.get(field) is not None or new.get(field) is not None
        }


def _as_in_jsonb(time: datetime) -> str:
    """The time as PostgreSQL writes it into jsonb."""
    text = time.astimezone(UTC).isoformat()
    return text.replace("+00:00", "").rstrip("0") + "+00:00" if time.microsecond else text
