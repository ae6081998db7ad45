"""The request class of the app: bodies are JSON of the declared type, or refused.

Litestar itself would take any Content-Type for JSON and "12" for an integer.
"""

import re
from collections.abc import AsyncGenerator
from typing import Any
from weakref import WeakKeyDictionary

from litestar import Request
from litestar.datastructures import State
from litestar.exceptions import InternalServerException
from litestar.handlers import HTTPRouteHandler

from saas.errors import BadRequest, UnsupportedMediaType
from saas.web.json_body import BodyDecoder

_JSON = b"application/json"
_MERGE_PATCH = b"application/merge-patch+json"
# No two runs of spaces meet in it, and none ends it: all ways to share a long one would be tried.
_MEDIA_TYPE = re.compile(
    rb'([a-z0-9.+/-]+)(?:\s*;\s*charset\s*=\s*"?utf-?8"?)?(?:\s*;)?', re.IGNORECASE
)
# Litestar's words for a client that went away while it sent; its exception has no type of its own.
_DISCONNECTED = "client disconnected prematurely"

# By handler, not by type: to hash an annotation with Litestar's markers takes 60 us.
_decoders: WeakKeyDictionary[HTTPRouteHandler, Any] = WeakKeyDictionary()


class StrictRequest(Request[Any, Any, State]):
    """Decodes a body into the type of the handler's `data`, once, straight from the bytes."""

    async def json(self) -> Any:
        """The decoded body. Raises UnsupportedMediaType, BadRequest or Invalid."""
        self._require_json()
        handler = self.route_handler
        decoder = _decoders.get(handler)
        if decoder is None:
            decoder = _decoders[handler] = _decoder_for(handler)
        return decoder.decode(await self.body())

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """The body in chunks. Raises BadRequest where it ends early: the client has gone, or can no
        longer be understood (a malformed chunk), and may still read an answer."""
        try:
            async for chunk in super().stream():
                yield chunk
        except InternalServerException as error:
            if error.detail == _DISCONNECTED:
                raise BadRequest("The body ended before it was whole.") from None
            raise

    def _require_json(self) -> None:
        """RFC 8259 JSON is UTF-8 alone, so `charset` may say nothing else. A browser's form
        cannot send application/json across sites, which this check also relies on."""
        found: list[bytes] = []
        for name, value in self.scope["headers"]:
            if name == b"content-type":
                found.append(value)
            elif name == b"content-encoding" and value.lower() != b"identity":
                raise UnsupportedMediaType("Send the body without Content-Encoding.")
        if found == [_JSON]:
            return
        match = _MEDIA_TYPE.fullmatch(found[0].strip()) if len(found) == 1 else None
        media_type = match[1].lower() if match else b""
        if media_type != _JSON and not (
            media_type == _MERGE_PATCH and self.scope["method"] == "PATCH"
        ):
            raise UnsupportedMediaType


def _decoder_for(handler: HTTPRouteHandler) -> Any:
    if make := handler.opt.get("make_decoder"):
        return make()
    field = handler.parsed_data_field
    return BodyDecoder(Any if field is None else field.raw)
