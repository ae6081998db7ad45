"""The routes that every resource has. Each handler is one call of the repository and an Answer."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import msgspec
from litestar import delete, get, patch, post
from litestar.connection import Request
from litestar.enums import RequestEncodingType
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import BodyKwarg, FromPath
from litestar.types import ASGIApp

from saas import context
from saas.db.audit import AuditEntry, AuditLog
from saas.db.query import Condition, bad_parameter
from saas.db.repository import TenantRepository
from saas.errors import (
    NotFound,
    PermissionDenied,
    PreconditionFailed,
    PreconditionRequired,
    VersionConflict,
)
from saas.web.answer import Answer, json_answer
from saas.web.cursors import Cursors
from saas.web.pages import ListBody, list_answer, parse_page, query_pairs
from saas.web.preconditions import etag_header, is_unmodified, versions_wanted
from saas.web.schemas import Create, Read, Update, values_of

AnyRequest = Request[Any, Any, Any]
JSON_BODY = BodyKwarg(media_type=RequestEncodingType.JSON)

audit_entries: TenantRepository[AuditLog, AuditEntry] = TenantRepository(AuditLog, AuditEntry)


class Routed(NamedTuple):
    """What the routes need to know of a resource."""

    name: str
    repository: TenantRepository[Any, Any]
    cursors: Cursors
    create: type[Create]
    update: type[Update]
    read: type[Read]
    requires_match: bool


def resource_handlers(resource: Routed) -> list[HTTPRouteHandler]:
    """Every generated handler of `resource`, relative to its path."""
    builders = (_list, _create, _get, _update, _delete, _restore, _history)
    return [build(resource) for build in builders]


def _list(resource: Routed) -> HTTPRouteHandler:
    name, repository, cursors = resource.name, resource.repository, resource.cursors

    async def list_rows(request: AnyRequest) -> ASGIApp:
        query = parse_page(request, name, repository.grammar, cursors)
        if query.deleted != "exclude":
            require_permission(f"{name}:write")
        return list_answer(request, name, query, await repository.list(query), cursors)

    return get("/", **_described(resource, "list", "read", 200, ListBody))(list_rows)


def _create(resource: Routed) -> HTTPRouteHandler:
    repository = resource.repository
    location = f"/v1/{resource.name}/"

    async def create_row(data: Any) -> ASGIApp:
        row = await repository.create(values_of(data))
        headers = [etag_header(row.version), (b"location", f"{location}{row.id}".encode())]
        return json_answer(row, 201, headers)

    create_row.__annotations__["data"] = Annotated[resource.create, JSON_BODY]
    return post("/", **_described(resource, "create", "write", 201, resource.read))(create_row)


def _get(resource: Routed) -> HTTPRouteHandler:
    repository = resource.repository

    async def get_row(request: AnyRequest, id: FromPath[str]) -> ASGIApp:
        row = await repository.get(row_id(id))
        tag = etag_header(row.version)
        if is_unmodified(header(request, b"if-none-match"), row.version):
            return Answer(304, headers=[tag])
        return json_answer(row, headers=[tag])

    return get("/{id:str}", **_described(resource, "get", "read", 200, resource.read))(get_row)


def _update(resource: Routed) -> HTTPRouteHandler:
    repository = resource.repository

    async def update_row(request: AnyRequest, id: FromPath[str], data: Any) -> ASGIApp:
        wanted = await _wanted_version(request, resource, id, data.version)
        with wanted.refusals():
            row = await repository.update(row_id(id), values_of(data), version=wanted.version)
        return json_answer(row, headers=[etag_header(row.version)])

    update_row.__annotations__["data"] = Annotated[resource.update, JSON_BODY]
    describe = _described(resource, "update", "write", 200, resource.read)
    return patch("/{id:str}", **describe)(update_row)


def _delete(resource: Routed) -> HTTPRouteHandler:
    name, repository = resource.name, resource.repository

    async def delete_row(request: AnyRequest, id: FromPath[str]) -> ASGIApp:
        wanted = await _wanted_version(request, resource, id, msgspec.UNSET)
        with wanted.refusals():
            if _is_hard(request):
                require_permission(f"{name}:purge")
                await repository.purge(row_id(id), version=wanted.version)
            else:
                await repository.delete(row_id(id), version=wanted.version)
        return Answer(204)

    # Litestar lets no handler of status 204 return anything; the Answer carries the real status.
    describe = _described(resource, "delete", "write", 204, None)
    return delete("/{id:str}", **describe, status_code=200)(delete_row)


def _restore(resource: Routed) -> HTTPRouteHandler:
    repository = resource.repository

    async def restore_row(id: FromPath[str]) -> ASGIApp:
        row = await repository.restore(row_id(id))
        return json_answer(row, headers=[etag_header(row.version)])

    describe = _described(resource, "restore", "write", 200, resource.read)
    return post("/{id:str}/restore", **describe, status_code=200)(restore_row)


def _history(resource: Routed) -> HTTPRouteHandler:
    name, repository, cursors = resource.name, resource.repository, resource.cursors

    async def list_history(request: AnyRequest, id: FromPath[str]) -> ASGIApp:
        row = row_id(id)
        await repository.get(row, include_deleted=True)
        query = parse_page(request, f"{name}/{row}/history", audit_entries.grammar, cursors)
        of_row = (Condition("entity", "eq", name), Condition("entity_id", "eq", row))
        query = msgspec.structs.replace(query, conditions=(*query.conditions, *of_row))
        page = await audit_entries.list(query)
        return list_answer(request, f"{name}/{row}/history", query, page, cursors)

    describe = _described(resource, "history", "read", 200, ListBody)
    return get("/{id:str}/history", **describe)(list_history)


def row_id(text: str) -> UUID:
    """A malformed id is one that no row has: NotFound, like every other."""
    try:
        return msgspec.convert(text, UUID)
    except msgspec.ValidationError:
        raise NotFound from None


def header(request: AnyRequest, name: bytes) -> str | None:
    """A header by its lower-case name, lists of it joined; Litestar's own mapping of all headers
    costs as much as the whole rest of a handler."""
    found = [value for key, value in request.scope["headers"] if key == name]
    return b", ".join(found).decode("latin-1") if found else None


def require_permission(permission: str) -> None:
    """For what depends on the query; a route's own permission is checked by the middleware."""
    if permission not in context.principal().permissions:
        raise PermissionDenied(permission)


class _Wanted(NamedTuple):
    """The version that the caller demands, and the refusal that fits where it said so."""

    version: int | None
    in_header: bool = False

    @contextmanager
    def refusals(self) -> Iterator[None]:
        try:
            yield
        except VersionConflict as stale:
            if self.in_header:
                raise PreconditionFailed(stale.current_version) from None
            raise


# No row has it, so it is stale whatever the present version is.
_NO_VERSION = 0


async def _wanted_version(
    request: AnyRequest, resource: Routed, id: str, in_body: int | msgspec.UnsetType
) -> _Wanted:
    if_match = header(request, b"if-match")
    if if_match is None and resource.requires_match:
        raise PreconditionRequired
    wanted = versions_wanted(if_match)
    if wanted is None:
        return _Wanted(None if in_body is msgspec.UNSET else in_body)
    if len(wanted) == 1 and in_body is msgspec.UNSET:
        return _Wanted(next(iter(wanted)), in_header=True)
    # Several demands at once: each has to hold for the present version.
    present: int = (await resource.repository.get(row_id(id))).version
    if present not in wanted:
        return _Wanted(_NO_VERSION, in_header=True)
    return _Wanted(present if in_body is msgspec.UNSET else in_body)


def _is_hard(request: AnyRequest) -> bool:
    values = dict(query_pairs(request))
    hard = values.pop("hard", "false")
    if values:
        raise bad_parameter(next(iter(values)), "Allowed: hard.")
    if hard not in {"true", "false"}:
        raise bad_parameter("hard", "Give true or false.")
    return hard == "true"


def _described(
    resource: Routed, operation: str, permission: str, status: int, body: Any
) -> dict[str, Any]:
    spec = ResponseSpec(data_container=body, description="Done", generate_examples=False)
    return {
        "name": f"{resource.name}.{operation}",
        "operation_id": f"{resource.name}_{operation}",
        "opt": {"permission": f"{resource.name}:{permission}", "resource": resource.name},
        "tags": [resource.name],
        "responses": {status: spec},
    }
