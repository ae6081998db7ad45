"""The peer's table: the columns and indexes of the product's projects, without its security."""

from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, Index, String, func, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    type_annotation_map = {datetime: DateTime(timezone=True)}  # noqa: RUF012 SQLAlchemy's own form


class Project(Base):
    __tablename__ = "projects"
    __table_args__ = (
        Index("ix_projects_tenant_created", "tenant_id", "created_at", "id"),
        Index(
            "uq_projects_tenant_name",
            "tenant_id",
            "name",
            unique=True,
            postgresql_where=text("deleted_at IS NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.uuidv7())
    tenant_id: Mapped[UUID]
    name: Mapped[str] = mapped_column(String(120))
    description: Mapped[str | None]
    is_active: Mapped[bool] = mapped_column(default=True)
    budget_cents: Mapped[int | None] = mapped_column(BigInteger)
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = mapped_column(default=lambda: datetime.now(UTC))
    created_by: Mapped[str] = mapped_column(default="api")
    updated_at: Mapped[datetime] = mapped_column(
        default=lambda: datetime.now(UTC), onupdate=lambda: datetime.now(UTC)
    )
    updated_by: Mapped[str] = mapped_column(default="api")
    deleted_at: Mapped[datetime | None]
    deleted_by: Mapped[str | None]
