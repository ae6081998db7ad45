"""`/docs` and `/openapi.json`: the API described for people and programs, without internet.

The page loads nothing but what this server sends, and its policy holds it to that.
"""

from functools import lru_cache

import msgspec
from litestar import Litestar, Request, Response, Router, get
from litestar.enums import MediaType
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.params import FromPath
from litestar.types import ControllerRouterHandler
from openapi_ui_bundles import swagger_ui

from saas.errors import NotFound
from saas.web.openapi import complete_document

_OPEN = {"plane": "open"}
# Swagger UI sets style attributes and draws its icons from data: URLs; scripts come from files.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>API</title>
<link rel="icon" href="/docs/favicon-32x32.png">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="docs"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
# validatorUrl: null, or the page would send the document to validator.swagger.io.
_START = """SwaggerUIBundle({
  url: "/openapi.json", dom_id: "#docs", deepLinking: true, filter: true, validatorUrl: null
});
"""
_ASSETS = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}


def openapi_config(title: str, version: str) -> OpenAPIConfig:
    """For Litestar's `openapi_config`; the routes are `docs_routes`."""
    return OpenAPIConfig(
        title=title,
        version=version,
        openapi_router=_NoRouter("/", route_handlers=[]),
        render_plugins=[JsonRenderPlugin()],
        use_handler_docstrings=True,
    )


class _NoRouter(Router):
    """Takes none of Litestar's own pages: they include a catch-all that answers in HTML, and load
    scripts from a CDN."""

    def register(self, value: ControllerRouterHandler) -> list[object]:  # type: ignore[override]
        return []


@get("/docs", opt=_OPEN, include_in_schema=False, sync_to_thread=False, media_type=MediaType.HTML)
def read_docs() -> Response[str]:
    return Response(_PAGE, headers={"Content-Security-Policy": _POLICY})


@get("/docs/{name:str}", opt=_OPEN, include_in_schema=False, sync_to_thread=False)
def read_docs_asset(name: FromPath[str]) -> Response[bytes]:
    if name == "start.js":
        body, media_type = _START.encode(), "text/javascript"
    elif name in _ASSETS:
        body, media_type = _asset(name), _ASSETS[name]
    else:
        raise NotFound
    return Response(body, media_type=media_type, headers={"Cache-Control": "public, max-age=3600"})


@get("/openapi.json", opt=_OPEN, include_in_schema=False, sync_to_thread=False)
def read_openapi(request: Request) -> Response[bytes]:  # type: ignore[type-arg]
    return Response(_document(request.app), media_type="application/json")


docs_routes: list[HTTPRouteHandler] = [read_docs, read_docs_asset, read_openapi]


@lru_cache
def _asset(name: str) -> bytes:
    # Only names of _ASSETS come here, so no path of the caller's making does.
    return (swagger_ui.static_path / name).read_bytes()


@lru_cache(maxsize=1)
def _document(app: Litestar) -> bytes:
    """Built on the first request, not at start: it costs as much as many requests."""
    return msgspec.json.encode(complete_document(app))
