"""What every row that people edit shows beside its own fields."""

from datetime import datetime
from uuid import UUID

from msgspec import Struct


class Read(Struct):
    """The base of what a repository reads. Field names are column names."""

    id: UUID
    version: int
    created_at: datetime
    created_by: str
    updated_at: datetime
    updated_by: str
    deleted_at: datetime | None
    deleted_by: str | None
