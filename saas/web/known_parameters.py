"""No query parameter is ignored: what a route does not declare is refused before it runs."""

from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

from litestar.connection import Request
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter

from saas.db.query import bad_parameter
from saas.web.filter_parameters import OPERATORS
from saas.web.pages import query_pairs

# None for a route whose grammar checks its parameters by itself.
_declared: WeakKeyDictionary[HTTPRouteHandler, frozenset[str] | None] = WeakKeyDictionary()


async def refuse_unknown_parameters(request: Request[Any, Any, Any]) -> None:
    """For Litestar's `before_request`. Raises BadRequest naming what is allowed. The open plane
    takes anything: probes and browsers add parameters of their own."""
    if not request.scope["query_string"]:
        return
    handler: HTTPRouteHandler = request.route_handler
    # Litestar's own OPTIONS handlers declare nothing, and answer everybody.
    if not handler.opt or handler.opt.get("plane") == "open":
        return
    if handler not in _declared:
        _declared[handler] = _parameters_of(handler)
    allowed = _declared[handler]
    if allowed is not None:
        _check(query_pairs(request), allowed)


def _check(pairs: list[tuple[str, str]], allowed: frozenset[str]) -> None:
    names = [name for name, _ in pairs]
    for name in names:
        if name not in allowed:
            known = f"Allowed: {', '.join(sorted(allowed))}." if allowed else "It takes none."
            raise bad_parameter(name, f"This route does not know it. {known}")
        if names.count(name) > 1:
            raise bad_parameter(name, "Give it once.")


def _parameters_of(handler: HTTPRouteHandler) -> frozenset[str] | None:
    described = [p for p in handler.opt.get("parameters", ()) if p["in"] == "query"]
    if any(OPERATORS in parameter for parameter in described):
        return None
    return frozenset({*(parameter["name"] for parameter in described), *_in_signature(handler)})


def _in_signature(handler: HTTPRouteHandler) -> Iterator[str]:
    """The parameters that Litestar reads from the query itself, as the caller writes them."""
    for name, field in handler.parsed_fn_signature.parameters.items():
        if isinstance(field.kwarg_definition, QueryParameter):
            yield field.kwarg_definition.query or field.kwarg_definition.name or name
