"""The floor: hand-written asyncpg inside Litestar, on the peer's table behind row-level security
as in the product, but with no credentials, audit, limits or metering. Three round trips a request:
BEGIN with the binding in one message, one prepared statement, COMMIT. It shows what the framework
and the wire leave to win."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
from litestar import Litestar, Request, get, patch, post
from litestar.datastructures import State
from litestar.exceptions import NotFoundException
from msgspec import UNSET, UnsetType

COLUMNS = (
    "id, version, name, description, is_active, budget_cents, "
    "created_at, created_by, updated_at, updated_by, deleted_at, deleted_by"
)
LIVE = "tenant_id = $1 AND deleted_at IS NULL"
GET = f"SELECT {COLUMNS} FROM projects WHERE {LIVE} AND id = $2"
LIST = (
    f"SELECT {COLUMNS} FROM projects WHERE {LIVE} AND is_active = $2 "
    "ORDER BY created_at DESC, id DESC LIMIT $3"
)
TOTAL = f"SELECT count(*) AS total FROM projects WHERE {LIVE} AND is_active = $2"
CREATE = (
    "INSERT INTO projects (id, tenant_id, name, description, is_active, budget_cents, version, "
    "created_at, created_by, updated_at, updated_by) "
    f"VALUES (uuidv7(), $1, $2, $3, $4, $5, 1, now(), 'api', now(), 'api') RETURNING {COLUMNS}"
)


class Create(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    description: str | None = None
    is_active: bool = True
    budget_cents: int | None = None


class Update(msgspec.Struct, forbid_unknown_fields=True):
    name: str | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    is_active: bool | UnsetType = UNSET
    budget_cents: int | UnsetType | None = UNSET


class Project(msgspec.Struct):
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


class Page(msgspec.Struct, omit_defaults=True):
    items: list[Project]
    limit: int
    total: int | None = None


class Connection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no types
    def get_reset_query(self) -> str:
        """Nothing: all that is set here ends with its transaction."""
        return ""


@asynccontextmanager
async def lifespan(app: Litestar) -> AsyncIterator[None]:
    pool = asyncpg.create_pool(
        os.environ["FLOOR_DATABASE_URL"], min_size=10, max_size=10, connection_class=Connection
    )
    async with pool:
        app.state.pool = pool
        yield


@asynccontextmanager
async def transaction(state: State, tenant_id: UUID) -> AsyncIterator[Any]:
    async with state.pool.acquire() as connection:
        await connection.execute(f"BEGIN; SET LOCAL app.tenant_id = '{tenant_id}'")
        try:
            yield connection
        except BaseException:
            await connection.execute("ROLLBACK")
            raise
        await connection.execute("COMMIT")


def tenant_of(request: Request[Any, Any, Any]) -> UUID:
    return UUID(request.headers["x-tenant-id"])


@get("/ready", sync_to_thread=False)
def ready() -> None:
    return None


@get("/projects/{project_id:uuid}")
async def get_project(project_id: UUID, state: State, request: Request[Any, Any, Any]) -> Project:
    tenant_id = tenant_of(request)
    async with transaction(state, tenant_id) as connection:
        row = await connection.fetchrow(GET, tenant_id, project_id)
    return project_of(row)


@get("/projects")
async def list_projects(
    state: State,
    request: Request[Any, Any, Any],
    limit: int = 20,
    include_total: bool = False,
) -> Page:
    tenant_id = tenant_of(request)
    async with transaction(state, tenant_id) as connection:
        rows = await connection.fetch(LIST, tenant_id, True, limit)
        total = await connection.fetchval(TOTAL, tenant_id, True) if include_total else None
    return Page([Project(*row) for row in rows], limit, total)


@post("/projects")
async def create_project(data: Create, state: State, request: Request[Any, Any, Any]) -> Project:
    tenant_id = tenant_of(request)
    values = (data.name, data.description, data.is_active, data.budget_cents)
    async with transaction(state, tenant_id) as connection:
        row = await connection.fetchrow(CREATE, tenant_id, *values)
    return project_of(row)


@patch("/projects/{project_id:uuid}")
async def update_project(
    project_id: UUID, data: Update, state: State, request: Request[Any, Any, Any]
) -> Project:
    tenant_id = tenant_of(request)
    changes = {k: v for k in data.__struct_fields__ if (v := getattr(data, k)) is not UNSET}
    assignments = "".join(f"{name} = ${i}, " for i, name in enumerate(changes, 3))
    async with transaction(state, tenant_id) as connection:
        row = await connection.fetchrow(
            f"UPDATE projects SET {assignments}version = version + 1, updated_at = now() "
            f"WHERE {LIVE} AND id = $2 RETURNING {COLUMNS}",
            tenant_id,
            project_id,
            *changes.values(),
        )
    return project_of(row)


def project_of(row: Any) -> Project:
    if row is None:
        raise NotFoundException
    return Project(*row)


app = Litestar(
    [ready, get_project, list_projects, create_project, update_project],
    lifespan=[lifespan],
    openapi_config=None,
)
