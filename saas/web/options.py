"""`Allow`: the methods of a path, the same in the answer to OPTIONS and in a 405."""

from collections.abc import Iterable
from typing import Any

from litestar import Litestar, Request, Response
from litestar.routes import HTTPRoute


def allowed(methods: Iterable[str]) -> str:
    """The value of `Allow`. The edge answers HEAD by GET, and every path answers OPTIONS."""
    names = {str(method) for method in methods}
    return ", ".join(sorted(names | {"OPTIONS"} | ({"HEAD"} if "GET" in names else set())))


def complete_options(app: Litestar) -> None:
    """Let every OPTIONS handler that Litestar has made for `app` name all methods of its path: by
    itself it names those that the path had when the first of its handlers was registered."""
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            handler, _ = route.route_handler_map["OPTIONS"]
            # A handler that somebody wrote declares at least its plane.
            if not handler.opt:
                handler.before_request = _teller(allowed(route.methods))


def _teller(allow: str) -> Any:
    async def tell(_: Request[Any, Any, Any]) -> Response[None]:
        return Response(None, status_code=204, headers={"Allow": allow})

    return tell
