"""The imports of a tenant: how they stand, their refused rows, and going on after a break."""

from collections.abc import Sequence
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.types import ASGIApp

from saas import context
from saas.auth.permissions import EVERYONE
from saas.db.apart import apart
from saas.db.exports import snapshot
from saas.db.imports import records
from saas.db.imports.bad_rows import bad_rows_csv
from saas.db.imports.service import ImportService, imports
from saas.db.imports.tables import Import, ImportErrorRead, ImportErrorRow, ImportRead
from saas.db.models import table_of
from saas.db.query import Condition, QueryGrammar, bad_parameter
from saas.db.repository import TenantRepository
from saas.web.answer import json_answer
from saas.web.cursors import Cursors
from saas.web.described import described, list_parameters, query_parameter
from saas.web.import_routes import TAKEN, import_answer
from saas.web.import_upload import SpooledRest, spool_rest
from saas.web.pages import ListBody, list_answer, parse_page, query_pairs
from saas.web.routed import AnyRequest
from saas.web.row_request import header, require_permission, row_id
from saas.web.streamed import StreamedAnswer, Write
from saas.web.uploads import upload_or

# `status` depends on the clock too; the others are for whoever works on an import.
_HIDDEN = ("status", "worker", "chunks", "next_chunk", "bytes_expected")
_grammar = QueryGrammar(table_of(Import), hidden=_HIDDEN, fields=ImportRead.__struct_fields__)

_errors: TenantRepository[ImportErrorRow, ImportErrorRead] = TenantRepository(
    ImportErrorRow, ImportErrorRead
)
_error_grammar = QueryGrammar(table_of(ImportErrorRow), hidden=("import_id",), sort="line")
_FORMATS = ("json", "csv")
_FORMAT = query_parameter(
    "format",
    {"type": "string", "enum": list(_FORMATS), "default": "json"},
    "csv gives all of them in one file, with the columns of the file that was sent and the reason, "
    "to be corrected and sent again. So does Accept: text/csv.",
)


def import_handlers(
    cursors: Cursors, service: ImportService, resources: Sequence[str]
) -> list[HTTPRouteHandler]:
    """The routes below `/v1/imports`. Whoever may read the rows of a resource sees its imports."""
    return [_list(cursors, resources), _get(), _list_errors(cursors, service), _resume(service)]


def _list(cursors: Cursors, resources: Sequence[str]) -> HTTPRouteHandler:
    async def list_imports(request: AnyRequest) -> ASGIApp:
        query = parse_page(request, "imports", _grammar, cursors)
        permissions = context.principal().permissions
        readable = tuple(name for name in resources if f"{name}:read" in permissions)
        conditions = (*query.conditions, Condition("resource", "in", readable))
        page = await imports.list(msgspec.structs.replace(query, conditions=conditions))
        return list_answer(request, "imports", query, page, cursors)

    return get(
        "/v1/imports",
        **described(
            "imports.list",
            "List imports",
            permission=EVERYONE,
            success=200,
            body=ListBody[ImportRead],
            refusals=(400,),
            parameters=list_parameters(_grammar),
        ),
    )(list_imports)


def _get() -> HTTPRouteHandler:
    async def get_import(id: FromPath[str]) -> ASGIApp:
        return json_answer(await _readable(id))

    return get(
        "/v1/imports/{id:str}",
        **described(
            "imports.get",
            "Read how an import stands",
            permission=EVERYONE,
            success=200,
            body=ImportRead,
            refusals=(404,),
        ),
    )(get_import)


def _list_errors(cursors: Cursors, service: ImportService) -> HTTPRouteHandler:
    async def list_errors(request: AnyRequest, id: FromPath[str]) -> ASGIApp:
        found = await _readable(id)
        # The import is in the name of the list, so that a cursor leads nowhere else.
        place = f"imports/{found.id}/errors"
        query = parse_page(request, place, _error_grammar, cursors, leaving_out=("format",))
        if _wants_csv(request):
            return await _csv_answer(found, service)
        conditions = (*query.conditions, Condition("import_id", "eq", found.id))
        page = await _errors.list(msgspec.structs.replace(query, conditions=conditions))
        return list_answer(request, place, query, page, cursors)

    return get(
        "/v1/imports/{id:str}/errors",
        **described(
            "imports.errors",
            "List the rows that an import refused",
            permission=EVERYONE,
            success=200,
            body=ListBody[ImportErrorRead],
            gives=("text/csv",),
            refusals=(400, 404),
            parameters=(_FORMAT, *list_parameters(_error_grammar)),
        ),
    )(list_errors)


def _resume(service: ImportService) -> HTTPRouteHandler:
    async def receive(request: AnyRequest) -> SpooledRest | None:
        id = row_id(request.path_params["id"])
        # Before anything is taken in, and not in the request's transaction: an upload may last.
        async with apart(service.database):
            record = await _writable(id)
        return await spool_rest(request, service, record)

    async def resume_import(request: AnyRequest, id: FromPath[str]) -> ASGIApp:
        spooled = await upload_or(request, receive)
        if spooled is not None:
            return import_answer(await service.begin(spooled.upload))
        await _writable(row_id(id))
        return import_answer(await service.resume(row_id(id)))

    declared = described(
        "imports.resume",
        "Go on with an import after a break",
        permission=EVERYONE,
        success=202,
        body=ImportRead,
        refusals=(400, 404, 409, 413, 415),
        takes=TAKEN,
    )
    declared["opt"] |= {"receive": receive, "needs_body": False}
    return post(
        "/v1/imports/{id:str}/resume", status_code=202, request_max_body_size=None, **declared
    )(resume_import)


async def _readable(id: str) -> ImportRead:
    found = await imports.get(row_id(id))
    require_permission(f"{found.resource}:read")
    return found


async def _writable(id: UUID) -> ImportRead:
    found = await imports.get(id)
    require_permission(f"{found.resource}:write")
    return found


def _wants_csv(request: AnyRequest) -> bool:
    given = [text for name, text in query_pairs(request) if name == "format"]
    if len(given) > 1 or not set(given) <= set(_FORMATS):
        raise bad_parameter("format", f"Give one of: {', '.join(_FORMATS)}.")
    accepted = header(request, b"accept") or ""
    return given == ["csv"] or (not given and accepted.partition(";")[0].strip() == "text/csv")


async def _csv_answer(found: ImportRead, service: ImportService) -> StreamedAnswer:
    record = await records.peek(found.id)
    target = service.target(found.resource)

    async def make(write: Write) -> None:
        async with snapshot():
            async for piece in bad_rows_csv(record, target):
                await write(piece)

    name = f"{found.resource}-import-errors.csv"
    return StreamedAnswer(
        [
            (b"content-type", b"text/csv; charset=utf-8"),
            (b"content-disposition", f'attachment; filename="{name}"'.encode()),
        ],
        make,
    )
