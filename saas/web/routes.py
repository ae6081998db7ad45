"""The routes that every resource has. Each handler is one call of the repository and an Answer."""

from typing import Annotated, Any

from litestar import delete, get, patch
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.types import ASGIApp

from saas import context
from saas.db.partial import narrowed
from saas.web.answer import Answer, json_answer
from saas.web.batch_routes import batch_handler
from saas.web.create_route import create_handler
from saas.web.described import (
    AS_OF,
    HARD,
    IF_MATCH,
    IF_NONE_MATCH,
    described,
    fields_parameter,
    list_parameters,
)
from saas.web.export_route import export_handler
from saas.web.import_routes import import_handler
from saas.web.pages import ListBody, list_answer, parse_page
from saas.web.preconditions import etag_header, is_unmodified
from saas.web.routed import JSON_BODY, AnyRequest, Routed, demanded
from saas.web.row_request import (
    header,
    is_hard,
    past_time,
    require_permission,
    row_id,
    wanted_fields,
    wanted_version,
)
from saas.web.schemas import values_of


def resource_handlers(resource: Routed) -> list[HTTPRouteHandler]:
    """Every generated handler of `resource`, relative to its path."""
    builders = (
        *(_list, create_handler, _get, _update, _delete),
        *(batch_handler, export_handler, import_handler),
    )
    return [build(resource) for build in builders]


def _list(resource: Routed) -> HTTPRouteHandler:
    name, repository, cursors = resource.name, resource.repository, resource.cursors

    async def list_rows(request: AnyRequest) -> ASGIApp:
        query = parse_page(request, name, repository.grammar, cursors)
        if query.deleted != "exclude":
            require_permission(f"{name}:write")
        return list_answer(request, name, query, await repository.list(query), cursors)

    return get(
        "/",
        **described(
            f"{name}.list",
            f"List {name}",
            permission=f"{name}:read",
            success=200,
            body=ListBody[resource.read],  # type: ignore[name-defined]  # made at run time
            refusals=(400,),
            parameters=list_parameters(repository.grammar),
        ),
    )(list_rows)


def _get(resource: Routed) -> HTTPRouteHandler:
    name, repository = resource.name, resource.repository

    async def get_row(request: AnyRequest, id: FromPath[str]) -> ASGIApp:
        fields = wanted_fields(request, repository.grammar)
        time = past_time(request)
        if time is not None:
            row = await repository.get_as_of(row_id(id), time)
            if "audit:read" not in context.principal().permissions:
                # A purged row is left in the log alone, which not everybody may read.
                await repository.get(row_id(id), include_deleted=True)
            # Without an ETag, for a write that took it for one of the present row would be stale.
            return json_answer(narrowed(row, fields))
        # The ETag is of the version, shown or not.
        read = fields if not fields or "version" in fields else (*fields, "version")
        row = await repository.get(row_id(id), fields=read)
        tag = etag_header(row.version)
        if is_unmodified(header(request, b"if-none-match"), row.version):
            return Answer(304, headers=[tag])
        return json_answer(row if read == fields else narrowed(row, fields), headers=[tag])

    return get(
        "/{id:str}",
        **described(
            f"{name}.get",
            f"Read one of {name}",
            permission=f"{name}:read",
            success=200,
            body=resource.read,
            refusals=(400, 404),
            parameters=(fields_parameter(repository.grammar), AS_OF, IF_NONE_MATCH),
        ),
    )(get_row)


def _update(resource: Routed) -> HTTPRouteHandler:
    name, repository = resource.name, resource.repository

    async def update_row(request: AnyRequest, id: FromPath[str], data: Any) -> ASGIApp:
        wanted = await wanted_version(
            request,
            repository,
            id,
            in_body=data.version,
            is_demanded=resource.requires_match,
        )
        with wanted.refusals():
            row = await repository.update(row_id(id), values_of(data), version=wanted.version)
        return json_answer(row, headers=[etag_header(row.version)])

    update_row.__annotations__["data"] = Annotated[resource.update, JSON_BODY]
    return patch(
        "/{id:str}",
        **described(
            f"{name}.update",
            f"Change one of {name}",
            permission=f"{name}:write",
            success=200,
            body=resource.read,
            refusals=(404, 409, 412, *demanded(resource)),
            parameters=(IF_MATCH,),
        ),
    )(update_row)


def _delete(resource: Routed) -> HTTPRouteHandler:
    name, repository = resource.name, resource.repository

    async def delete_row(request: AnyRequest, id: FromPath[str]) -> ASGIApp:
        hard = is_hard(request)
        if hard:
            require_permission(f"{name}:purge")
        wanted = await wanted_version(
            request,
            repository,
            id,
            is_demanded=resource.requires_match,
            include_deleted=hard,
        )
        with wanted.refusals():
            if hard:
                await repository.purge(row_id(id), version=wanted.version)
            else:
                await repository.delete(row_id(id), version=wanted.version)
        return Answer(204)

    # Litestar lets no handler of status 204 return anything; the Answer carries the real status.
    return delete(
        "/{id:str}",
        status_code=200,
        **described(
            f"{name}.delete",
            f"Delete one of {name}",
            permission=f"{name}:write",
            success=204,
            body=None,
            refusals=(400, 404, 409, 412, *demanded(resource)),
            parameters=(HARD, IF_MATCH),
        ),
    )(delete_row)
