"""What a request to import asks for: the format by its Content-Type, the rest by its query."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from saas.db.imports.head import SourceWish, checked_delimiter
from saas.db.imports.service import ImportWish
from saas.db.imports.source import Format
from saas.db.query import bad_parameter
from saas.errors import BadRequest, UnsupportedMediaType
from saas.web.described import Parameter, query_parameter
from saas.web.pages import query_pairs
from saas.web.routed import AnyRequest

FORMATS: dict[bytes, Format] = {
    b"text/csv": "csv",
    b"application/x-ndjson": "jsonl",
    b"application/jsonl": "jsonl",
}
# No two runs of spaces meet in it, and none ends it: all ways to share a long one would be tried.
_MEDIA_TYPE = re.compile(
    rb'([a-z0-9.+/-]+)(?:\s*;\s*(?:charset\s*=\s*"?([a-z0-9_-]+)"?|header\s*=\s*present))*(?:\s*;)?',
    re.IGNORECASE,
)
_MOST_COLUMNS = 1_000

_CONFLICTS = ("error", "skip", "update")
_MODES = ("partial", "atomic")


def media_type(request: AnyRequest) -> tuple[Format, str | None]:
    """The format and charset of the body. Raises UnsupportedMediaType."""
    found: list[bytes] = []
    for name, value in request.scope["headers"]:
        if name == b"content-type":
            found.append(value)
        elif name == b"content-encoding" and value.lower() != b"identity":
            raise UnsupportedMediaType("Send the body without Content-Encoding.")
    match = _MEDIA_TYPE.fullmatch(found[0].strip()) if len(found) == 1 else None
    format = FORMATS.get(match[1].lower()) if match else None
    if match is None or format is None:
        raise UnsupportedMediaType("Send the file as text/csv or application/x-ndjson.")
    return format, match[2].decode() if match[2] else None


def content_length(request: AnyRequest) -> int | None:
    """None where the sender does not know it yet."""
    found = [value for name, value in request.scope["headers"] if name == b"content-length"]
    return int(found[0]) if len(found) == 1 and found[0].isdigit() else None


def import_wish(request: AnyRequest, resource: str) -> ImportWish:
    """Raises BadRequest naming what is allowed, UnsupportedMediaType."""
    format, charset = media_type(request)
    given = dict(query_pairs(request))
    columns, delimiter = given.get("map"), given.get("delimiter")
    wish: dict[str, Any] = {
        "on_conflict": _one_of("on_conflict", given.get("on_conflict", "error"), _CONFLICTS),
        "mode": _one_of("mode", given.get("mode", "partial"), _MODES),
        "dry_run": _is_set(given, "dry_run"),
        "again": _is_set(given, "again"),
    }
    source = SourceWish(
        format=format,
        charset=charset,
        delimiter=None if delimiter is None else _delimiter(delimiter),
        columns={} if columns is None else _columns(columns),
    )
    return ImportWish(resource=resource, source=source, **wish)


def _is_set(given: Mapping[str, str], name: str) -> bool:
    return _one_of(name, given.get(name, "false"), ("true", "false")) == "true"


def _one_of(name: str, text: str, allowed: tuple[str, ...]) -> str:
    if text not in allowed:
        raise bad_parameter(name, f"Give one of: {', '.join(allowed)}.")
    return text


def _delimiter(text: str) -> str:
    try:
        return checked_delimiter(text)
    except BadRequest as refused:
        raise bad_parameter("delimiter", refused.message) from None


def _columns(text: str) -> dict[str, str | None]:
    try:
        columns = msgspec.json.decode(text, type=dict[str, str | None])
    except (msgspec.DecodeError, UnicodeEncodeError):
        message = 'Give a JSON object from names of the file to columns or null: {"Title": "name"}.'
        raise bad_parameter("map", message) from None
    if len(columns) > _MOST_COLUMNS:
        raise bad_parameter("map", f"Give at most {_MOST_COLUMNS} names.")
    return columns


PARAMETERS: tuple[Parameter, ...] = (
    query_parameter(
        "on_conflict",
        {"type": "string", "enum": list(_CONFLICTS), "default": "error"},
        "What becomes of a live row with the same natural key: it is reported, kept, or changed.",
    ),
    query_parameter(
        "mode",
        {"type": "string", "enum": list(_MODES), "default": "partial"},
        "partial keeps the good rows, atomic none unless all are good.",
    ),
    query_parameter(
        "dry_run", {"type": "boolean"}, "Report what would become of the rows, and store none."
    ),
    query_parameter(
        "again", {"type": "boolean"}, "Import the file though it was imported in this way before."
    ),
    query_parameter(
        "delimiter",
        {"type": "string", "pattern": "^[\\t !#-~]$"},
        "Between the cells of CSV; seen from the first row if it is not given.",
    ),
    query_parameter(
        "map",
        {"type": "string", "contentMediaType": "application/json"},
        "A JSON object from names in the file to columns, null to leave one out.",
    ),
)
