"""Operators take a tenant out as an archive, and bring one in from it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.types import ASGIApp

from saas.db.database import Database
from saas.db.query import bad_parameter
from saas.errors import Unavailable, UnsupportedMediaType
from saas.portability.export import export_tenant, require_exportable
from saas.portability.importing import import_tenant
from saas.portability.opened import OpenArchive
from saas.portability.outcome import Ids, Imported, OnConflict, Wish
from saas.tenancy.directory import tenant_by_id
from saas.tenancy.models import SLUG_PATTERN
from saas.tenancy.onboarding import PlanSlug, Slug
from saas.web.answer import json_answer
from saas.web.described import described, query_parameter
from saas.web.pages import query_pairs
from saas.web.row_request import header, row_id
from saas.web.spool import spooled
from saas.web.streamed import StreamedAnswer, Write
from saas.web.strict_request import StrictRequest

_ZIP = "application/zip"
_RETRY_SECONDS = 30
_KINDS: dict[str, Any] = {
    "ids": Ids,
    "on_conflict": OnConflict,
    "dry_run": bool,
    "slug": Slug,
    "plan": PlanSlug,
}
_PARAMETERS = [
    query_parameter(
        "ids",
        {"type": "string", "enum": ["keep", "new"], "default": "keep"},
        "Whether tenant and rows keep their ids; API keys go on working only then.",
    ),
    query_parameter(
        "on_conflict",
        {"type": "string", "enum": ["error", "skip", "update"], "default": "error"},
        "What becomes of a tenant that is here already: refuse, add what is missing, or overwrite.",
    ),
    query_parameter("dry_run", {"type": "boolean", "default": False}, "Do all of it and undo it."),
    query_parameter(
        "slug",
        {"type": "string", "pattern": SLUG_PATTERN},
        "The new tenant's, in place of the archive's.",
    ),
    query_parameter(
        "plan",
        {"type": "string", "minLength": 1, "maxLength": 40},
        "The new tenant's, in place of the archive's.",
    ),
]


def archive_handlers(
    database: Database, *, most_exports: int, max_archive_bytes: int
) -> list[HTTPRouteHandler]:
    """The routes; `most_exports` run at once in this process, and one import."""
    exports, imports = Turns("exports", most_exports), Turns("imports", 1)

    @get(
        "/v1/admin/tenants/{id:str}/export",
        **described(
            "admin.export",
            "Export a tenant as one archive",
            plane="platform",
            success=200,
            body=None,
            gives=(_ZIP,),
            refusals=(404, 409),
        ),
    )
    async def export(request: StrictRequest, id: FromPath[str]) -> ASGIApp:
        tenant = await tenant_by_id(row_id(id))
        require_exportable(tenant.status)
        actor = request.scope["state"]["actor"]

        async def make(write: Write) -> None:
            with exports.turn():
                await export_tenant(database, tenant.id, actor=actor, write=write)

        name = f'attachment; filename="{tenant.slug}.zip"'.encode()
        headers = [(b"content-type", _ZIP.encode()), (b"content-disposition", name)]
        return StreamedAnswer(headers, make)

    description = described(
        "admin.import",
        "Import a tenant from an archive",
        plane="platform",
        success=201,
        body=Imported,
        takes=(_ZIP,),
        refusals=(409, 429),
        parameters=_PARAMETERS,
    )
    # A dry run creates nothing.
    description["responses"][200] = description["responses"][201]

    @post("/v1/admin/tenants/import", request_max_body_size=max_archive_bytes, **description)
    async def import_archive(request: StrictRequest) -> ASGIApp:
        wish = _wish_of(request)
        _require_zip(request)
        actor = request.scope["state"]["actor"]
        async with spooled(request) as spool:
            with imports.turn():
                # In a thread, because a long manifest takes longer than others may wait.
                archive = await asyncio.to_thread(OpenArchive, spool.file)
                done = await import_tenant(database, archive, wish, actor=actor)
        location = f"/v1/admin/tenants/{done.tenant.id}".encode()
        if done.dry_run:
            return json_answer(done)
        return json_answer(done, 201, [(b"location", location)])

    return [export, import_archive]


class Turns:
    """How many of what takes minutes may run at once in this process."""

    def __init__(self, what: str, most: int) -> None:
        self._what = what
        self._left = most

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Raises Unavailable when all turns are taken."""
        if not self._left:
            raise Unavailable(
                f"Other {self._what} are running. Retry later.", retry_after_seconds=_RETRY_SECONDS
            )
        self._left -= 1
        try:
            yield
        finally:
            self._left += 1


def _wish_of(request: StrictRequest) -> Wish:
    """Raises BadRequest naming the parameter."""
    given: dict[str, Any] = {}
    for name, text in query_pairs(request):
        try:
            # "true" and "false" alone are booleans in JSON.
            value = {"true": True, "false": False}.get(text, text) if name == "dry_run" else text
            given[name] = msgspec.convert(value, _KINDS[name])
        except msgspec.ValidationError as fault:
            raise bad_parameter(name, f"{fault}.") from None
    return Wish(**given)


def _require_zip(request: StrictRequest) -> None:
    media_type = (header(request, b"content-type") or "").partition(";")[0].strip().lower()
    if media_type != _ZIP:
        raise UnsupportedMediaType(f"Send the archive as {_ZIP}.")
    if (header(request, b"content-encoding") or "identity").lower() != "identity":
        raise UnsupportedMediaType("Send the body without Content-Encoding.")
