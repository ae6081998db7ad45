"""Tasks: a child resource, whose parent and assignee are rows of the same tenant."""

from datetime import date
from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import CheckConstraint, Date, SmallInteger, String, text
from sqlalchemy.orm import Mapped, mapped_column

from saas.db.models import TenantModel, reference
from saas.web.resource import Resource
from saas.web.schemas import Create, NotBlank, Read, Update

Title = Annotated[NotBlank, Meta(min_length=1, max_length=200)]
Status = Literal["todo", "doing", "done"]
Priority = Annotated[int, Meta(ge=0, le=4)]


class Task(TenantModel):
    __tablename__ = "tasks"
    __table_args__ = (
        # Text with a check, not an enum: enum comparison is not leakproof, so under row-level
        # security no index could serve it.
        CheckConstraint("status IN ('todo', 'doing', 'done')", name="status"),
        CheckConstraint("priority BETWEEN 0 AND 4", name="priority"),
    )

    project_id: Mapped[UUID] = reference("projects")
    title: Mapped[str] = mapped_column(String(200))
    status: Mapped[str] = mapped_column(String(20), server_default=text("'todo'"))
    priority: Mapped[int] = mapped_column(SmallInteger, server_default=text("2"))
    due_on: Mapped[date | None] = mapped_column(Date)
    assignee_id: Mapped[UUID | None] = reference("members", on_delete="RESTRICT", nullable=True)


class TaskCreate(Create):
    project_id: UUID
    title: Title
    status: Status = "todo"
    priority: Priority = 2
    due_on: date | None = None
    assignee_id: UUID | None = None


class TaskUpdate(Update):
    project_id: UUID | UnsetType = UNSET
    title: Title | UnsetType = UNSET
    status: Status | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET
    due_on: date | UnsetType | None = UNSET
    assignee_id: UUID | UnsetType | None = UNSET


class TaskRead(Read):
    project_id: UUID
    title: str
    status: Status
    priority: int
    due_on: date | None
    assignee_id: UUID | None


tasks = Resource(
    Task,
    TaskCreate,
    TaskUpdate,
    TaskRead,
    search=("title",),
    natural_key=("project_id", "title"),
    nested_in="project_id",
)
