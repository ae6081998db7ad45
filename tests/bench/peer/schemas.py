"""What the peer takes and gives."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(min_length=2, max_length=120)]
Description = Annotated[str, Field(max_length=5_000)]


class ProjectCreate(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Name
    description: Description | None = None
    is_active: bool = True
    budget_cents: int | None = None


class BatchItem(BaseModel):
    op: Literal["create"]
    data: ProjectCreate


class Batch(BaseModel):
    items: Annotated[list[BatchItem], Field(min_length=1, max_length=1_000)]


class BatchResult(BaseModel):
    index: int
    status: str
    id: UUID


class BatchReport(BaseModel):
    results: list[BatchResult]


class ProjectUpdate(BaseModel):
    """Fields that are absent stay as they are."""

    model_config = ConfigDict(extra="forbid")

    name: Name = ""
    description: Description | None = None
    is_active: bool = True
    budget_cents: int | None = None


class ProjectRead(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    version: int
    name: str
    description: str | None
    is_active: bool
    budget_cents: int | None
    created_at: datetime
    created_by: str
    updated_at: datetime
    updated_by: str
    deleted_at: datetime | None
    deleted_by: str | None


class ProjectPage(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    items: list[ProjectRead]
    limit: int
    offset: int
    total: int | None = None
