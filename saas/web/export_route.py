"""`GET /v1/R/export`: all rows of a list's query as one file, streamed from one snapshot."""

from typing import Any

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from saas.db.export_formats import FORMATS, Format
from saas.db.exports import PAGING, export_pieces, export_query, snapshot
from saas.db.query import ListQuery, QueryGrammar, bad_parameter
from saas.web.described import Parameter, described, list_parameters, query_parameter
from saas.web.pages import query_pairs
from saas.web.routed import AnyRequest, Routed
from saas.web.row_request import require_permission
from saas.web.streamed import StreamedAnswer, Write

_DEFAULT = "csv"
_FORMAT = query_parameter(
    "format", {"type": "string", "enum": list(FORMATS), "default": _DEFAULT}, "Of the file."
)


def export_handler(resource: Routed) -> HTTPRouteHandler:
    """The export route of `resource`, relative to its path."""
    name, repository = resource.name, resource.repository

    async def export_rows(request: AnyRequest) -> ASGIApp:
        format, query = _wish_of(request, repository.grammar)
        if query.deleted != "exclude":
            require_permission(f"{name}:write")

        async def make(write: Write) -> None:
            async with snapshot():
                async for piece in export_pieces(repository, query, format):
                    await write(piece.content)

        return StreamedAnswer(_headers(name, format), make)

    return get(
        "/export",
        **described(
            f"{name}.export",
            f"Export {name}",
            permission=f"{name}:read",
            success=200,
            body=None,
            gives=tuple(format.media_type.partition(";")[0] for format in FORMATS.values()),
            refusals=(400,),
            parameters=_parameters(repository.grammar),
        ),
    )(export_rows)


def _wish_of(request: AnyRequest, grammar: QueryGrammar) -> tuple[Format, ListQuery]:
    """Raises BadRequest naming what is allowed."""
    pairs = query_pairs(request)
    formats = [text for name, text in pairs if name == "format"]
    if len(formats) > 1:
        raise bad_parameter("format", "Give it once.")
    format = FORMATS.get(formats[0] if formats else _DEFAULT)
    if format is None:
        raise bad_parameter("format", f"Give one of {', '.join(FORMATS)}.")
    return format, export_query(grammar, [pair for pair in pairs if pair[0] != "format"])


def _headers(name: str, format: Format) -> list[tuple[bytes, bytes]]:
    return [
        (b"content-type", format.media_type.encode()),
        (b"content-disposition", f'attachment; filename="{name}.{format.suffix}"'.encode()),
    ]


def _parameters(grammar: QueryGrammar) -> list[Parameter]:
    kept: list[dict[str, Any]] = [p for p in list_parameters(grammar) if p["name"] not in PAGING]
    return [_FORMAT, *kept]
