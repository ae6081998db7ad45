"""The file of a request to import, received before it is known whether it is wanted."""

import hashlib
from collections.abc import AsyncIterator

from saas import context
from saas.db.imports.service import ImportService
from saas.db.imports.tables import ImportRead
from saas.db.imports.upload import Body, Upload, UploadComplete, discard, leave
from saas.web.idempotency_key import HEADER
from saas.web.import_request import content_length, import_wish, media_type
from saas.web.known_parameters import refuse_unknown_parameters
from saas.web.routed import AnyRequest


class SpooledUpload:
    """A whole file."""

    def __init__(self, service: ImportService, upload: Upload) -> None:
        self.upload = upload
        self.digest = upload.digest
        self._service = service

    async def discard(self) -> None:
        await discard(self._service.database, self.upload)


class SpooledRest:
    """The rest of a file. `upload` raises UploadComplete where it was here already."""

    def __init__(
        self, service: ImportService, found: Upload | UploadComplete, digest: bytes
    ) -> None:
        self.digest = digest
        self._service = service
        self._found = found

    @property
    def upload(self) -> Upload:
        if isinstance(self._found, UploadComplete):
            raise self._found
        return self._found

    async def discard(self) -> None:
        # Not the import: who may not resume it under this key may do so under another.
        if isinstance(self._found, Upload):
            await leave(self._service.database, self._found)


async def spool(request: AnyRequest, service: ImportService, resource: str) -> SpooledUpload:
    """Receive the file of a request. Raises what is wrong with either."""
    await refuse_unknown_parameters(request)
    wish = import_wish(request, resource)
    body = _admitted(request, f"{resource}:write")
    upload = await service.receive(wish, body, length=content_length(request))
    return SpooledUpload(service, upload)


async def spool_rest(
    request: AnyRequest, service: ImportService, record: ImportRead
) -> SpooledRest | None:
    """Receive the rest of the file of an import; None for an empty body. Raises what is wrong with
    it, and UploadComplete unless it may be the repeat of a request, whose answer is kept."""
    await refuse_unknown_parameters(request)
    length = content_length(request)
    is_chunked = any(name == b"transfer-encoding" for name, _ in request.scope["headers"])
    if not length and not is_chunked:
        return None
    media_type(request)
    digest = hashlib.sha256()
    body = _digested(_admitted(request, f"{record.resource}:write"), digest)
    try:
        found: Upload | UploadComplete = await service.receive_rest(record.id, body, length=length)
    except UploadComplete as refusal:
        if all(name != HEADER for name, _ in request.scope["headers"]):
            raise
        found, left = refusal, record.bytes_received
        async for data in body:
            left -= len(data)
            if left < 0:
                # No rest that was taken in here can have been so long.
                raise
    return SpooledRest(service, found, digest.digest())


async def _admitted(request: AnyRequest, permission: str) -> Body:
    """The body, as long as the caller may send it: an upload may last for hours."""
    async for data in request.stream():
        await context.require_admission(permission)
        yield data


async def _digested(body: Body, digest: "hashlib._Hash") -> AsyncIterator[bytes]:
    async for data in body:
        digest.update(data)
        yield data
