"""The peer: a well-written FastAPI application of the kind teams start from. The tenant is a
header and a filter by hand; no credentials, no row-level security, no audit."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated
from uuid import UUID

from fastapi import FastAPI, Header, HTTPException, Query, Request
from fastapi.responses import JSONResponse
from sqlalchemy import Select, func, select
from sqlalchemy.exc import IntegrityError

from tests.bench.peer.database import IS_LEAN, Session, engine
from tests.bench.peer.models import Project
from tests.bench.peer.schemas import (
    Batch,
    BatchReport,
    ProjectCreate,
    ProjectPage,
    ProjectRead,
    ProjectUpdate,
)

TenantId = Annotated[UUID, Header(alias="X-Tenant-ID")]
SORTABLE = {
    "created_at": Project.created_at,
    "updated_at": Project.updated_at,
    "name": Project.name,
}


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield
    await engine.dispose()


app = FastAPI(title="Peer", lifespan=lifespan)


@app.exception_handler(IntegrityError)
async def answer_conflict(_: Request, __: Exception) -> JSONResponse:
    return JSONResponse({"detail": "A project of this name exists"}, status_code=409)


@app.get("/projects/{project_id}", response_model=ProjectRead)
async def get_project(project_id: UUID, tenant_id: TenantId, session: Session) -> Project:
    return await find(session, tenant_id, project_id)


@app.get("/projects", response_model=ProjectPage)
async def list_projects(
    tenant_id: TenantId,
    session: Session,
    is_active: bool | None = None,
    sort: str = "-created_at",
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    offset: Annotated[int, Query(ge=0)] = 0,
    include_total: bool = False,
) -> dict[str, object]:
    column = SORTABLE.get(sort.removeprefix("-"))
    if column is None:
        raise HTTPException(400, f"sort is one of {', '.join(SORTABLE)}")
    query = live(tenant_id)
    if is_active is not None:
        query = query.where(Project.is_active == is_active)
    total = None
    if include_total:
        total = await session.scalar(
            query.with_only_columns(func.count(), maintain_column_froms=True)
        )
    order = (column.desc(), Project.id.desc()) if sort.startswith("-") else (column, Project.id)
    rows = await session.scalars(query.order_by(*order).limit(limit).offset(offset))
    return {"items": rows.all(), "limit": limit, "offset": offset, "total": total}


@app.post("/projects", response_model=ProjectRead, status_code=201)
async def create_project(body: ProjectCreate, tenant_id: TenantId, session: Session) -> Project:
    project = Project(tenant_id=tenant_id, **body.model_dump())
    session.add(project)
    await save(session, project)
    return project


@app.post("/projects/batch", response_model=BatchReport)
async def create_projects(
    body: Batch, tenant_id: TenantId, session: Session
) -> dict[str, list[dict[str, object]]]:
    projects = [Project(tenant_id=tenant_id, **item.data.model_dump()) for item in body.items]
    session.add_all(projects)
    await session.commit()
    rows = enumerate(projects)
    return {"results": [{"index": n, "status": "created", "id": p.id} for n, p in rows]}


@app.patch("/projects/{project_id}", response_model=ProjectRead)
async def update_project(
    project_id: UUID, body: ProjectUpdate, tenant_id: TenantId, session: Session
) -> Project:
    project = await find(session, tenant_id, project_id)
    for field, value in body.model_dump(exclude_unset=True).items():
        setattr(project, field, value)
    project.version += 1
    await save(session, project)
    return project


async def save(session: Session, project: Project) -> None:
    await session.commit()
    if not IS_LEAN:
        await session.refresh(project)


async def find(session: Session, tenant_id: UUID, project_id: UUID) -> Project:
    project = await session.scalar(live(tenant_id).where(Project.id == project_id))
    if project is None:
        raise HTTPException(404, "No such project")
    return project


def live(tenant_id: UUID) -> Select[Project]:
    return select(Project).where(Project.tenant_id == tenant_id, Project.deleted_at.is_(None))
