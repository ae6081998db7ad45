"""The control plane's tables, and the tenant tables that say who may enter and how much fits."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from saas.db.models import HOLDS_ACTOR, Base, TenantModel, TenantRow, reference, security

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
    updated_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class Tenant(Base):
    """One customer. The app role sees its own row alone; the platform role sees all. A deleted
    tenant's row stays, so that nobody gets its slug or id again.

    `limit_overrides` replaces limits of the plan by name. Tokens issued before
    `tokens_valid_from` are refused. `purge_at` ends the grace of a tenant that is being deleted;
    `deletion` says who asked for that, and how far it is (`deletion.py`)."""

    __tablename__ = "tenants"
    __table_args__ = (
        CheckConstraint(f"slug ~ '{SLUG_PATTERN}'", name="slug"),
        CheckConstraint("status IN ('active', 'suspended', 'deleting', 'deleted')", name="status"),
        {
            "info": {
                "tenancy": "control",
                "tenant_column": "id",
                "app": ("SELECT", "UPDATE"),
                # All that a tenant may change of itself: its display name, and the end of its
                # tokens.
                "app_updates": (
                    "name",
                    "tokens_valid_from",
                    "version",
                    "updated_at",
                    "updated_by",
                ),
                "platform": ("SELECT", "INSERT", "UPDATE"),
            }
        },
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    slug: Mapped[str] = mapped_column(String(40), unique=True)
    name: Mapped[str] = mapped_column(String(120))
    plan: Mapped[str] = mapped_column(ForeignKey("plans.slug", name="fk_tenants_plan"))
    status: Mapped[str] = mapped_column(String(20), server_default=text("'active'"))
    limit_overrides: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    tokens_valid_from: Mapped[datetime | None]
    # No archive carries the end of a tenant.
    purge_at: Mapped[datetime | None] = mapped_column(info={"portable": "never"})
    deletion: Mapped[dict[str, Any] | None] = mapped_column(JSONB, info={"portable": "never"})
    version: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    created_by: Mapped[str] = mapped_column(info=HOLDS_ACTOR)
    updated_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    updated_by: Mapped[str] = mapped_column(info=HOLDS_ACTOR)


class Member(TenantModel):
    """A person inside one tenant; `Membership` tells where else the same person is a member."""

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
    # An older archive must not revive tokens that were revoked here.
    tokens_valid_from: Mapped[datetime | None] = mapped_column(info={"portable": "new_rows"})


class ApiKeyRow(TenantModel):
    """A credential of a program. Only the SHA-256 of its secret is kept; 256 random bits need no
    slow hash. `permissions` null means all of the role. After a rotation the secret before it is
    good until `previous_expires_at`.

    `member_id` is who has made or last rotated it, also by way of another key, and so knows the
    secret: it is good for no more than this member is. Null for what an operator has made, and keys
    have made with that. `previous_member_id` is the same for the secret before."""

    __tablename__ = "api_keys"
    # A key's text names its tenant: under another id no key would open anything.
    __security__ = security(platform=("INSERT",), portable="same_ids")
    __table_args__ = (
        CheckConstraint("role IN ('owner', 'admin', 'member', 'viewer')", name="role"),
        CheckConstraint(
            "jsonb_typeof(permissions) = 'array' AND "
            "NOT jsonb_path_exists(permissions, '$[*] ? (@.type() != \"string\")')",
            name="permissions",
        ),
    )

    name: Mapped[str] = mapped_column(String(120))
    prefix: Mapped[str] = mapped_column(String(40))
    secret_hash: Mapped[bytes] = mapped_column(LargeBinary, info={"masked": True})
    role: Mapped[str] = mapped_column(String(20))
    permissions: Mapped[list[str] | None] = mapped_column(JSONB)
    member_id: Mapped[UUID | None] = reference("members", on_delete="RESTRICT", nullable=True)
    previous_secret_hash: Mapped[bytes | None] = mapped_column(LargeBinary, info={"masked": True})
    previous_member_id: Mapped[UUID | None] = reference(
        "members", on_delete="RESTRICT", nullable=True
    )
    previous_expires_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class ApiKeyUse(TenantRow):
    """When the key of the same id was last used. A table of its own, because it is no change that
    belongs into the audit log."""

    __tablename__ = "api_key_uses"
    __security__ = security(audited=False, portable="same_ids")
    last_used_at: Mapped[datetime]


class Invitation(TenantModel):
    """The offer to become a member, open until it is accepted, revoked (deleted) or expired.
    `member_id` is who has made it, also by way of a key; null for an operator."""

    __tablename__ = "invitations"
    # A credential as a key is: its token names tenant and row, and what has ended stays ended.
    __security__ = security(portable="same_ids")
    __table_args__ = (
        CheckConstraint("role IN ('owner', 'admin', 'member', 'viewer')", name="role"),
        Index(
            "uq_invitations_email_open",
            "tenant_id",
            "email",
            unique=True,
            postgresql_where=text("deleted_at IS NULL AND accepted_at IS NULL"),
        ),
    )

    email: Mapped[str] = mapped_column(String(254))
    role: Mapped[str] = mapped_column(String(20))
    member_id: Mapped[UUID | None] = reference("members", on_delete="RESTRICT", nullable=True)
    expires_at: Mapped[datetime]
    accepted_at: Mapped[datetime | None]


class Membership(Base):
    """Where a person is a member: the directory over all tenants, from which `GET /v1/me` lists
    them. It lets nobody in: a tenant is entered through the member's own row. Equal persons have
    proved to be one; an equal email address proves nothing."""

    __tablename__ = "memberships"
    __table_args__ = (
        Index("ix_memberships_person", "person_id"),
        {
            "info": {
                "tenancy": "control",
                "tenant_column": "tenant",
                "app": ("SELECT", "INSERT", "DELETE"),
                "platform": ("SELECT", "INSERT"),
                "audited": False,
            }
        },
    )

    tenant: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    member_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    person_id: Mapped[UUID] = mapped_column(Uuid)


class AccessGrant(TenantRow):
    """An operator's way into a tenant for a while (break-glass). The tenant can read it. Not
    audited by trigger: the audit log names the entry and each use of it by itself."""

    __tablename__ = "access_grants"
    # Of this installation's operators: an archive must not open a tenant to anybody.
    __security__ = security(
        app=("SELECT",),
        platform=("SELECT", "INSERT", "UPDATE"),
        audited=False,
        portable="never",
    )

    operator: Mapped[str]
    reason: Mapped[str]
    may_write: Mapped[bool]
    secret_hash: Mapped[bytes] = mapped_column(LargeBinary, info={"masked": True})
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class RowQuota(TenantRow):
    """How many rows of one table a tenant has at most: never too few, and counted anew before a
    quota refuses (`db/quotas.py`). Only tenants with a quota have it."""

    __tablename__ = "row_quotas"
    # Counted anew from the rows.
    __security__ = security(audited=False, portable="never")
    __table_args__ = (Index("uq_row_quotas_entity", "tenant_id", "entity", unique=True),)

    entity: Mapped[str] = mapped_column(String(50))
    used: Mapped[int]
    counted_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class DeletionCertificate(Base):
    """What was deleted of a tenant, whose id it has, and that nothing is left: drawn from the
    catalogue when its purge ended. `digest` is the SHA-256 of the document in canonical JSON."""

    __tablename__ = "deletion_certificates"
    __table_args__ = (
        {
            "info": {
                "tenancy": "control",
                "platform": ("SELECT", "INSERT"),
                "audited": False,
            }
        },
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    slug: Mapped[str] = mapped_column(String(40))
    issued_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    document: Mapped[dict[str, Any]] = mapped_column(JSONB)
    digest: Mapped[str]
