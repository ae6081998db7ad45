"""Projects: the first worked example of a resource."""

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import String, text
from sqlalchemy.orm import Mapped, mapped_column

from saas.db.models import TenantModel
from saas.web.resource import Resource
from saas.web.schemas import BigInt, Create, NotBlank, Read, Update

Name = Annotated[NotBlank, Meta(min_length=2, max_length=120)]
Description = Annotated[str, Meta(max_length=5_000)]


class Project(TenantModel):
    __tablename__ = "projects"

    name: Mapped[str] = mapped_column(String(120))
    description: Mapped[str | None]
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))
    budget_cents: Mapped[int | None]


class ProjectCreate(Create):
    name: Name
    description: Description | None = None
    is_active: bool = True
    budget_cents: BigInt | None = None


class ProjectUpdate(Update):
    name: Name | UnsetType = UNSET
    description: Description | UnsetType | None = UNSET
    is_active: bool | UnsetType = UNSET
    budget_cents: BigInt | UnsetType | None = UNSET


class ProjectRead(Read):
    name: str
    description: str | None
    is_active: bool
    budget_cents: int | None


projects = Resource(
    Project,
    ProjectCreate,
    ProjectUpdate,
    ProjectRead,
    search=("name", "description"),
    natural_key=("name",),
)
