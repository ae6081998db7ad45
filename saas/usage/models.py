"""What is counted of each tenant. Figures without content, so the platform may read all of them
and a tenant its own; no tenant can write one (docs/usage.md).

Their tenant column is `tenant`: these are no rows of a tenant but rows about it, and stay where a
tenant's archive goes.
"""

from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Identity,
    Index,
    SmallInteger,
    String,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from saas.db.models import HOLDS_ACTOR, Base, TenantRow, security
from saas.limits import METER_PATTERN

ENTRANCE = ("members", "api_keys", "invitations")
"""Tables about who may enter. They are counted as others are, but what a tenant stores, and by how
much it grows, is told without them."""

# Minutes of a row in `usage_requests`. A quarter of an hour is the longest time that lies inside
# one local day, and hour, of every time zone.
MINUTE, QUARTER, DAY = 1, 15, 1440


def _counted(*, app: tuple[str, ...] = ("SELECT",), by_triggers: bool = False) -> dict[str, Any]:
    return {
        "info": {
            "tenancy": "control",
            "tenant_column": "tenant",
            "is_usage": True,
            "app": app,
            "platform": ("SELECT", "INSERT", "UPDATE", "DELETE"),
            "written_by_triggers": by_triggers,
            "audited": False,
        }
    }


class UsageChange(Base):
    """What one statement has changed, or one row of it: written by the audit triggers in the same
    transaction, taken away by the fold. `live`, `active` and `removed` (soft-deleted) are what rows
    in that state have become more, `bytes` what all rows have."""

    __tablename__ = "usage_changes"
    __table_args__ = _counted(by_triggers=True)

    tenant: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    at: Mapped[datetime]
    entity: Mapped[str] = mapped_column(String(63))
    actor: Mapped[str]
    created: Mapped[int]
    updated: Mapped[int]
    deleted: Mapped[int]
    live: Mapped[int]
    active: Mapped[int]
    removed: Mapped[int]
    bytes: Mapped[int]


class UsageTotal(Base):
    """What a tenant has of each table, but for what is not folded yet; `changed_at` is null or
    -infinity where nothing was changed since it is counted."""

    __tablename__ = "usage_totals"
    __table_args__ = (_counted(),)

    tenant: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    entity: Mapped[str] = mapped_column(String(63), primary_key=True)
    live: Mapped[int]
    active: Mapped[int]
    removed: Mapped[int]
    bytes: Mapped[int]
    changed_at: Mapped[datetime | None]


class UsageActivity(Base):
    """What was changed in a quarter of an hour, that begins `at`, by each actor; `live` and `bytes`
    are what there was more at its end."""

    __tablename__ = "usage_activity"
    __table_args__ = (_counted(),)

    tenant: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    at: Mapped[datetime] = mapped_column(primary_key=True)
    entity: Mapped[str] = mapped_column(String(63), primary_key=True)
    actor: Mapped[str] = mapped_column(primary_key=True)
    created: Mapped[int]
    updated: Mapped[int]
    deleted: Mapped[int]
    live: Mapped[int]
    bytes: Mapped[int]


class UsageRequests(Base):
    """Requests of `grain` minutes from `at` on. Each request is in one row: its minute's, and later
    in the longer time's into which minutes are put together. `status` is the class (4 for 4xx),
    `kind` who asked (member, key, platform). The two latency columns are pairs of a bucket
    (`saas/usage/latency.py`) and how often; a bucket may come more than once."""

    __tablename__ = "usage_requests"
    __table_args__ = (
        CheckConstraint(f"grain IN ({MINUTE}, {QUARTER}, {DAY})", name="grain"),
        # For rolling up: the rows of one grain, by their age.
        Index("ix_usage_requests_grain", "tenant", "grain", "at"),
        _counted(),
    )

    tenant: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    at: Mapped[datetime] = mapped_column(primary_key=True)
    grain: Mapped[Literal[1, 15, 1440]] = mapped_column(SmallInteger, primary_key=True)
    route: Mapped[str] = mapped_column(primary_key=True)
    status: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    kind: Mapped[str] = mapped_column(String(20), primary_key=True)
    requests: Mapped[int]
    bytes_in: Mapped[int]
    bytes_out: Mapped[int]
    latency_buckets: Mapped[list[int]] = mapped_column(ARRAY(SmallInteger))
    latency_counts: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))


class UsageDay(Base):
    """All requests of a tenant on one day in UTC, and how many live rows (without those of
    ENTRANCE) there were more at its end."""

    __tablename__ = "usage_days"
    __table_args__ = (
        # For the figures of all tenants.
        Index("ix_usage_days_day", "day"),
        _counted(),
    )

    tenant: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    requests: Mapped[int]
    errors: Mapped[int]
    bytes_in: Mapped[int]
    bytes_out: Mapped[int]
    grown: Mapped[int] = mapped_column(server_default=text("0"))


class UsageWriter(Base):
    """A process that writes request counts, and the number of its last write: one whose answer was
    lost is known when it comes again."""

    __tablename__ = "usage_writers"
    __table_args__ = (
        {
            "info": {
                "tenancy": "control",
                "platform": ("SELECT", "INSERT", "UPDATE", "DELETE"),
                "audited": False,
            }
        },
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    writes: Mapped[int]
    at: Mapped[datetime]


class UsageEvent(TenantRow):
    """One use of something that the product counts by itself. `key` is the caller's own name for
    it: the same key is counted once."""

    __tablename__ = "usage_events"
    __security__ = security(app=("SELECT", "INSERT"), audited=False)
    __table_args__ = (
        CheckConstraint(f"meter ~ '{METER_PATTERN}'", name="meter"),
        CheckConstraint("quantity > 0", name="quantity"),
        Index("uq_usage_events_key", "tenant_id", "meter", "key", unique=True),
    )

    meter: Mapped[str] = mapped_column(String(40))
    key: Mapped[str] = mapped_column(String(200))
    quantity: Mapped[int]
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(info=HOLDS_ACTOR)
    received_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    data: Mapped[dict[str, Any] | None] = mapped_column(JSONB)


class UsageMeterChange(Base):
    """What new events have added to a meter, until it is folded."""

    __tablename__ = "usage_meter_changes"
    __table_args__ = (_counted(app=("SELECT", "INSERT")),)

    tenant: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    at: Mapped[datetime]
    meter: Mapped[str] = mapped_column(String(40))
    kind: Mapped[str] = mapped_column(String(20))
    events: Mapped[int]
    quantity: Mapped[int]


class UsageMeter(Base):
    """What a meter has counted in a quarter of an hour that begins `at`, by kind of actor."""

    __tablename__ = "usage_meters"
    __table_args__ = (_counted(),)

    tenant: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    at: Mapped[datetime] = mapped_column(primary_key=True)
    meter: Mapped[str] = mapped_column(String(40), primary_key=True)
    kind: Mapped[str] = mapped_column(String(20), primary_key=True)
    events: Mapped[int]
    quantity: Mapped[int]
