"""The routes to a row's past: restore, history and revert. `as_of` is a parameter of the read."""

from typing import Annotated
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.types import ASGIApp

from saas import context
from saas.db.audit import AuditEntry, AuditLog
from saas.db.repository import TenantRepository
from saas.web.answer import json_answer
from saas.web.described import IF_MATCH, described, list_parameters
from saas.web.pages import ListBody, list_answer, parse_page
from saas.web.preconditions import etag_header
from saas.web.routed import JSON_BODY, AnyRequest, Routed, demanded
from saas.web.row_request import row_id, wanted_version

audit_entries: TenantRepository[AuditLog, AuditEntry] = TenantRepository(AuditLog, AuditEntry)


class Revert(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`to` is an entry of the row's history, or of the audit log."""

    to: UUID


def history_handlers(resource: Routed) -> list[HTTPRouteHandler]:
    """The handlers of `resource` that lead to a row's past, relative to its path."""
    return [_restore(resource), _history(resource), _revert(resource)]


def _restore(resource: Routed) -> HTTPRouteHandler:
    name, repository = resource.name, resource.repository

    async def restore_row(request: AnyRequest, id: FromPath[str]) -> ASGIApp:
        wanted = await wanted_version(
            request,
            repository,
            id,
            is_demanded=resource.requires_match,
            include_deleted=True,
        )
        with wanted.refusals():
            row = await repository.restore(row_id(id), version=wanted.version)
        return json_answer(row, headers=[etag_header(row.version)])

    return post(
        "/{id:str}/restore",
        status_code=200,
        **described(
            f"{name}.restore",
            f"Bring a deleted one of {name} back",
            permission=f"{name}:write",
            success=200,
            body=resource.read,
            refusals=(400, 404, 409, 412, *demanded(resource)),
            parameters=(IF_MATCH,),
        ),
    )(restore_row)


def _history(resource: Routed) -> HTTPRouteHandler:
    name, repository, cursors = resource.name, resource.repository, resource.cursors

    async def list_history(request: AnyRequest, id: FromPath[str]) -> ASGIApp:
        # The row is in the name of the list, so that a cursor leads nowhere else.
        place = f"{name}/{id}/history"
        query = parse_page(request, place, audit_entries.grammar, cursors)
        page = await repository.history(row_id(id), query)
        return list_answer(request, place, query, page, cursors)

    return get(
        "/{id:str}/history",
        **described(
            f"{name}.history",
            f"What happened to one of {name}",
            permission=f"{name}:read",
            success=200,
            body=ListBody[AuditEntry],
            refusals=(400, 404),
            parameters=list_parameters(audit_entries.grammar),
        ),
    )(list_history)


def _revert(resource: Routed) -> HTTPRouteHandler:
    name, repository = resource.name, resource.repository

    async def revert_row(
        request: AnyRequest, id: FromPath[str], data: Annotated[Revert, JSON_BODY]
    ) -> ASGIApp:
        wanted = await wanted_version(
            request,
            repository,
            id,
            is_demanded=resource.requires_match,
            include_deleted=True,
        )
        with wanted.refusals():
            row = await repository.revert(
                row_id(id),
                to=data.to,
                version=wanted.version,
                # Whether the row is deleted is known only where it is read.
                may_purge=f"{name}:purge" in context.principal().permissions,
            )
        return json_answer(row, headers=[etag_header(row.version)])

    return post(
        "/{id:str}/revert",
        status_code=200,
        **described(
            f"{name}.revert",
            f"Set one of {name} back to its state after an audit entry",
            permission=f"{name}:write",
            success=200,
            body=resource.read,
            refusals=(400, 404, 409, 412, *demanded(resource)),
            parameters=(IF_MATCH,),
        ),
    )(revert_row)
