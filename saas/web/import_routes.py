"""`POST /v1/R/import`: a file of any size in, and its import's record out."""

from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from saas.db.imports.tables import ImportRead
from saas.web.answer import Answer, json_answer
from saas.web.described import described
from saas.web.import_request import PARAMETERS
from saas.web.import_upload import SpooledUpload, spool
from saas.web.routed import AnyRequest, Routed
from saas.web.uploads import upload_or

TAKEN = ("text/csv", "application/x-ndjson")


def import_handler(resource: Routed) -> HTTPRouteHandler:
    """The import route of `resource`, relative to its path."""
    name, service = resource.name, resource.imports

    async def receive(request: AnyRequest) -> SpooledUpload:
        return await spool(request, service, name)

    async def import_rows(request: AnyRequest) -> ASGIApp:
        spooled = await upload_or(request, receive)
        return import_answer(await service.begin(spooled.upload))

    declared = described(
        f"{name}.import",
        f"Import a file of {name}",
        permission=f"{name}:write",
        success=202,
        body=ImportRead,
        refusals=(400, 413, 415, 422),
        parameters=PARAMETERS,
        takes=TAKEN,
    )
    declared["opt"]["receive"] = receive
    # The service knows how large a file may be.
    return post("/import", status_code=202, request_max_body_size=None, **declared)(import_rows)


def import_answer(record: ImportRead) -> Answer:
    """The import has been accepted (RFC 9110, 15.3.3)."""
    return json_answer(record, 202, [(b"location", f"/v1/imports/{record.id}".encode())])
