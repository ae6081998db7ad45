"""The control plane's tables, plans and tenants, and the tenant tables that say who may enter."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, String, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from saas.db.models import Base, TenantModel, security

SLUG_PATTERN = "^[a-z][a-z0-9-]{2,39}$"


class Plan(Base):
    """What a tenant may use; `limits` is data, null in it means no limit."""

    __tablename__ = "plans"
    __table_args__ = (
        {
            "info": {
                "tenancy": "control",
                "app": ("SELECT",),
                "platform": ("SELECT", "INSERT", "UPDATE"),
                "audited": False,
            }
        },
    )

    slug: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(120))
    limits: Mapped[dict[str, Any]] = mapped_column(JSONB)


class Tenant(Base):
    """One customer. The app role sees its own row alone; the platform role sees all."""

    __tablename__ = "tenants"
    __table_args__ = (
        CheckConstraint(f"slug ~ '{SLUG_PATTERN}'", name="slug"),
        CheckConstraint("status IN ('active', 'suspended', 'deleting')", name="status"),
        {
            "info": {
                "tenancy": "control",
                "tenant_column": "id",
                "app": ("SELECT",),
                "platform": ("SELECT", "INSERT", "UPDATE"),
            }
        },
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    slug: Mapped[str] = mapped_column(String(40), unique=True)
    name: Mapped[str] = mapped_column(String(120))
    plan: Mapped[str] = mapped_column(ForeignKey("plans.slug", name="fk_tenants_plan"))
    status: Mapped[str] = mapped_column(String(20), server_default=text("'active'"))
    version: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    created_by: Mapped[str]
    updated_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    updated_by: Mapped[str]


class Member(TenantModel):
    """A person inside one tenant."""

    __tablename__ = "members"
    # Onboarding writes the first owner and key, inside the new tenant's own binding.
    __security__ = security(platform=("INSERT",))
    __table_args__ = (
        CheckConstraint("role IN ('owner', 'admin', 'member', 'viewer')", name="role"),
        CheckConstraint("status IN ('active', 'suspended')", name="status"),
        Index(
            "uq_members_email_live",
            "tenant_id",
            "email",
            unique=True,
            postgresql_where=text("deleted_at IS NULL"),
        ),
    )

    email: Mapped[str] = mapped_column(String(254))
    name: Mapped[str] = mapped_column(String(120))
    role: Mapped[str] = mapped_column(String(20))
    status: Mapped[str] = mapped_column(String(20), server_default=text("'active'"))
    joined_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class ApiKeyRow(TenantModel):
    """A credential of a program. Only the SHA-256 of its secret is kept; 256 random bits need no
    slow hash. `permissions` null means all of the role."""

    __tablename__ = "api_keys"
    __security__ = security(platform=("INSERT",))
    __table_args__ = (
        CheckConstraint("role IN ('owner', 'admin', 'member', 'viewer')", name="role"),
    )

    name: Mapped[str] = mapped_column(String(120))
    prefix: Mapped[str] = mapped_column(String(40))
    secret_hash: Mapped[bytes] = mapped_column(LargeBinary, info={"masked": True})
    role: Mapped[str] = mapped_column(String(20))
    permissions: Mapped[list[str] | None] = mapped_column(JSONB)
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
