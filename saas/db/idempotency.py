"""What is kept of a POST that carried an Idempotency-Key, and the lock under which it runs.

The tables tell their reader nothing: the id is a keyed hash of who asked for what with which key,
and the answer is encrypted (`web/idempotency_key.py`).
"""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Executable,
    Index,
    LargeBinary,
    Table,
    Uuid,
    any_,
    bindparam,
    delete,
    func,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from saas import context
from saas.db.models import Base, TenantRow, security, table_of
from saas.db.statements import Statement, tenant_predicate
from saas.db.transaction import current_transaction
from saas.errors import IdempotencyKeyInUse

_LIFETIME = "interval '24 hours'"
_MOST_REMOVED = 100
# A statement of its own, before the record is looked for: only a snapshot that is taken under the
# lock is sure to show what the holder before has committed.
_TRY_LOCK = "SELECT pg_try_advisory_xact_lock($1) AS is_alone"


class IdempotencyKey(TenantRow):
    """The answer to one POST of the tenant. Not audited: it says nothing that the audit entries
    of its effect do not say."""

    __tablename__ = "idempotency_keys"
    # Of a day, and sealed with this installation's secret.
    __security__ = security(audited=False, portable="never")
    __table_args__ = (Index("ix_idempotency_keys_expires", "tenant_id", "expires_at"),)

    request_mac: Mapped[bytes] = mapped_column(LargeBinary)
    answer: Mapped[bytes] = mapped_column(LargeBinary)
    expires_at: Mapped[datetime]


class PlatformIdempotencyKey(Base):
    """The same for operators, whose POSTs have no tenant (docs/decisions/0007)."""

    __tablename__ = "platform_idempotency_keys"
    __table_args__ = (
        Index("ix_platform_idempotency_keys_expires", "expires_at"),
        {
            "info": {
                "tenancy": "control",
                "platform": ("SELECT", "INSERT", "UPDATE", "DELETE"),
                "audited": False,
            }
        },
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    request_mac: Mapped[bytes] = mapped_column(LargeBinary)
    answer: Mapped[bytes] = mapped_column(LargeBinary)
    expires_at: Mapped[datetime]


class Kept(NamedTuple):
    request_mac: bytes
    answer: bytes


async def try_lock(number: int) -> bool:
    """Whether nobody else holds this lock; it is held until the end of the transaction."""
    rows = await current_transaction().fetch(_TRY_LOCK, [number])
    is_alone: bool = rows[0]["is_alone"]
    return is_alone


async def find(id: UUID) -> Kept | None:
    """What is kept under `id` and has not expired."""
    store = _store()
    rows = await store.run(store.find, {"id": id})
    return Kept(rows[0]["request_mac"], rows[0]["answer"]) if rows else None


async def keep(id: UUID, kept: Kept) -> None:
    """Keep it for 24 hours, in the current transaction, and remove up to a hundred expired ones of
    the tenant. Raises IdempotencyKeyInUse where another transaction has kept one meanwhile, which
    the lock should not let happen: the primary key is the second line."""
    store = _store()
    if not await store.run(store.keep, {"id": id, **kept._asdict()}):
        raise IdempotencyKeyInUse
    await store.run(store.remove_expired, {})


class _Store:
    """The statements on one of the two tables. Those on the tenants' carry the tenant."""

    def __init__(self, table: Table) -> None:
        self.find = Statement(_find(table))
        self.keep = Statement(_keep(table))
        self.remove_expired = Statement(_remove_expired(table))

    async def run(self, statement: Statement, values: dict[str, Any]) -> Any:
        principal = context.principal_or_none()
        if principal is not None:
            values["tenant_id"] = principal.tenant_id
        return await current_transaction().fetch(statement.sql, statement.arguments(values))


def _find(table: Table) -> Executable:
    chosen = select(table.c.request_mac, table.c.answer).where(*_own(table))
    return chosen.where(table.c.id == bindparam("id"), table.c.expires_at > func.now())


def _keep(table: Table) -> Executable:
    values: dict[str, Any] = {
        name: bindparam(name, type_=table.c[name].type)
        for name in ("tenant_id", "id", "request_mac", "answer")
        if name in table.c
    }
    kept = insert(table).values(**values, expires_at=func.now() + text(_LIFETIME))
    return kept.on_conflict_do_update(
        index_elements=list(table.primary_key.columns),
        set_={name: kept.excluded[name] for name in ("request_mac", "answer", "expires_at")},
        where=(table.c.expires_at <= func.now()),
    ).returning(table.c.id)


def _remove_expired(table: Table) -> Executable:
    # SKIP LOCKED: who removes the same rows at the same time neither waits nor locks us out.
    expired = (
        select(table.c.id)
        .where(*_own(table), table.c.expires_at <= func.now())
        .order_by(table.c.expires_at)
        .limit(_MOST_REMOVED)
        .with_for_update(skip_locked=True)
    )
    # An array, so that the limited choice is made once and not again for each row.
    chosen = func.array(expired.scalar_subquery(), type_=ARRAY(Uuid))
    return delete(table).where(*_own(table), table.c.id == any_(chosen))


def _own(table: Table) -> tuple[Any, ...]:
    return (tenant_predicate(table),) if "tenant_id" in table.c else ()


_of_tenants = _Store(table_of(IdempotencyKey))
_of_platform = _Store(table_of(PlatformIdempotencyKey))


def _store() -> _Store:
    # On the wrong plane either refuses: the app's role has no grant on the platform's table, the
    # platform's role none on the tenants'.
    return _of_platform if context.principal_or_none() is None else _of_tenants
