"""The platform plane: operators change, suspend, resume and offboard tenants."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar import delete, get, patch, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.types import ASGIApp
from msgspec import UNSET, UnsetType

from saas.db.query import bad_parameter
from saas.tenancy.deletion import Certificate, certificate_of
from saas.tenancy.directory import TenantRead, tenant_by_id
from saas.tenancy.lifecycle import Grace, TenantChanges, change, offboard, resume, suspend
from saas.web.answer import Answer, json_answer
from saas.web.described import IF_MATCH, described, query_parameter
from saas.web.pages import query_pairs
from saas.web.preconditions import etag_header
from saas.web.routed import JSON_BODY, AnyRequest
from saas.web.row_request import Wanted, row_id, wanted_version_of
from saas.web.schemas import Version

_MOST_DAYS = 365
_GRACE = {"grace_days": timedelta(days=1), "grace_seconds": timedelta(seconds=1)}


class TenantUpdate(TenantChanges, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`limits` are added to the tenant's own, which go before those of the plan; null in it means
    no limit, and `limits: null` leaves the plan's alone."""

    version: Version | UnsetType = UNSET


class Offboarded(msgspec.Struct, frozen=True):
    """Until `purge_at` the tenant can be resumed; then all its rows go."""

    status: Literal["deleting"]
    purge_at: datetime


def _described(name: str, summary: str, **more: Any) -> dict[str, Any]:
    return described(
        f"admin.{name}",
        summary,
        plane="platform",
        **{"success": 200, "body": TenantRead, "refusals": (400, 404, 409, 412), **more},
    )


@patch(
    "/v1/admin/tenants/{id:str}",
    **_described("update", "Change a tenant's name, plan or limits", parameters=(IF_MATCH,)),
)
async def update_tenant(
    request: AnyRequest, id: FromPath[str], data: Annotated[TenantUpdate, JSON_BODY]
) -> ASGIApp:
    tenant_id = row_id(id)
    wanted = await _wanted(request, tenant_id, data.version)
    with wanted.refusals():
        row = await change(tenant_id, data, actor=_actor(request), version=wanted.version)
    return _answer(row)


@post(
    "/v1/admin/tenants/{id:str}/suspend",
    status_code=200,
    **_described("suspend", "Lock a tenant's members out", parameters=(IF_MATCH,)),
)
async def suspend_tenant(request: AnyRequest, id: FromPath[str]) -> ASGIApp:
    tenant_id = row_id(id)
    wanted = await _wanted(request, tenant_id)
    with wanted.refusals():
        return _answer(await suspend(tenant_id, actor=_actor(request), version=wanted.version))


@post(
    "/v1/admin/tenants/{id:str}/resume",
    status_code=200,
    **_described("resume", "Undo a suspension or an offboarding", parameters=(IF_MATCH,)),
)
async def resume_tenant(request: AnyRequest, id: FromPath[str]) -> ASGIApp:
    tenant_id = row_id(id)
    wanted = await _wanted(request, tenant_id)
    with wanted.refusals():
        return _answer(await resume(tenant_id, actor=_actor(request), version=wanted.version))


@get(
    "/v1/admin/tenants/{id:str}/certificate",
    **_described(
        "certificate",
        "Read the certificate of a tenant's deletion",
        body=Certificate,
        refusals=(404,),
    ),
)
async def get_certificate(id: FromPath[str]) -> ASGIApp:
    return json_answer(await certificate_of(row_id(id)))


def lifecycle_handlers(grace_days: int) -> list[HTTPRouteHandler]:
    """The routes; `grace_days` is the grace period of an offboarding that names none."""
    most_seconds = _MOST_DAYS * 86_400
    parameters = (
        query_parameter(
            "grace_days",
            {"type": "integer", "minimum": 0, "maximum": _MOST_DAYS},
            f"How long it can be undone, by default {grace_days} days; 15 s at least.",
        ),
        query_parameter(
            "grace_seconds",
            {"type": "integer", "minimum": 0, "maximum": most_seconds},
            "The same in seconds; the two add up.",
        ),
        IF_MATCH,
    )

    @delete(
        "/v1/admin/tenants/{id:str}",
        status_code=202,
        **_described(
            "offboard",
            "Lock a tenant's members out and delete it after a grace period",
            success=202,
            body=Offboarded,
            parameters=parameters,
        ),
    )
    async def offboard_tenant(request: AnyRequest, id: FromPath[str]) -> ASGIApp:
        tenant_id, grace = row_id(id), Grace(timedelta(days=grace_days), _grace(request))
        wanted = await _wanted(request, tenant_id)
        with wanted.refusals():
            row = await offboard(tenant_id, grace, actor=_actor(request), version=wanted.version)
        return json_answer({"status": row.status, "purge_at": row.purge_at}, 202)

    return [update_tenant, suspend_tenant, resume_tenant, get_certificate, offboard_tenant]


async def _wanted(request: AnyRequest, tenant_id: UUID, in_body: int | UnsetType = UNSET) -> Wanted:
    async def present() -> int:
        return (await tenant_by_id(tenant_id)).version

    return await wanted_version_of(request, present, in_body=in_body)


def _grace(request: AnyRequest) -> timedelta | None:
    """The grace period that the query names. Raises BadRequest."""
    given = [(name, text) for name, text in query_pairs(request) if name in _GRACE]
    if not given:
        return None
    return sum((_length(name, text) for name, text in given), timedelta())


def _length(name: str, text: str) -> timedelta:
    most = timedelta(days=_MOST_DAYS) // _GRACE[name]
    # Digits alone, and few enough for any number here; int() takes more than that.
    if text.isascii() and text.isdecimal() and len(text) < 12 and int(text) <= most:
        return int(text) * _GRACE[name]
    raise bad_parameter(name, f"Give an integer from 0 to {most}.")


def _actor(request: AnyRequest) -> str:
    actor: str = request.scope["state"]["actor"]
    return actor


def _answer(row: TenantRead) -> Answer:
    return json_answer(row, headers=[etag_header(row.version)])
