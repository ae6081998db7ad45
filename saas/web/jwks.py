"""`GET /.well-known/jwks.json`: the public keys that prove our access tokens, for whoever else
verifies them."""

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from saas.auth.verification_keys import JwkSet
from saas.web.answer import json_answer
from saas.web.described import described

# As long as a reader may take to learn of a new key: docs/identity.md says to wait so long.
_CACHED = (b"cache-control", b"public, max-age=300")


def jwks_route(keys: JwkSet) -> HTTPRouteHandler:
    """Open and cacheable; `keys` are public."""

    @get(
        "/.well-known/jwks.json",
        **described(
            "auth.jwks",
            "The public keys that prove access tokens",
            plane="open",
            success=200,
            body=JwkSet,
        ),
    )
    async def read_keys() -> ASGIApp:
        return json_answer(keys, headers=[_CACHED])

    return read_keys
