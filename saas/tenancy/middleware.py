"""The one middleware: credential in, principal in the context, a unit of work around it all."""

import hmac
from collections.abc import Awaitable, Callable
from typing import Any

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from saas import context
from saas.auth.tokens import TokenIssuer
from saas.context import NO_ORIGIN, RequestOrigin
from saas.db.database import Database
from saas.db.transaction import Transaction
from saas.errors import PermissionDenied, RateLimited, Unauthenticated
from saas.tenancy.rate_limits import RateLimits
from saas.tenancy.resolver import Resolver

_READS = frozenset({"GET", "HEAD"})
# What stands around the handler of a POST, inside its transaction.
Post = Callable[[Scope, Receive, Send, ASGIApp], Awaitable[None]]


class TenancyMiddleware(ASGIMiddleware):
    """Every handler is on one plane, by its `opt`: `tenant` (the default) needs a `permission`,
    `platform` an operator's credential, `open` nothing. What is not declared is refused.
    `post` calls the handler of a POST on the first two; there is no transaction around the third.
    The requests of a tenant with a rate limit go through `rates`, and their answers carry the
    headers that it leaves in the state.
    """

    scopes = (ScopeType.HTTP,)

    def __init__(
        self,
        database: Database,
        resolver: Resolver,
        platform_tokens: TokenIssuer,
        platform_key: str,
        *,
        post: Post,
        rates: RateLimits,
    ) -> None:
        self._database = database
        self._resolver = resolver
        self._platform_tokens = platform_tokens
        self._platform_key = platform_key.encode()
        self._post = post
        self._rates = rates

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        # Unconditionally, also to nothing: a server may run a request in the context of the
        # request before it on the same connection.
        context.bind(None, NO_ORIGIN)
        opt: dict[str, Any] = scope["route_handler"].opt
        plane = opt.get("plane", "tenant")
        if plane == "open" or _is_generated_options(scope, opt):
            await next_app(scope, receive, send)
            return
        credential, selected = _credential(scope)
        read_only = scope.get("method") in _READS
        if plane == "platform":
            await self._enter_platform(scope, credential)
            pool = self._database.platform
        else:
            await self._enter_tenant(scope, credential, selected, opt.get("permission"))
            pool = self._database.app
        async with Transaction(pool, read_only=read_only):
            if scope.get("method") == "POST":
                await self._post(scope, receive, send, next_app)
            else:
                await next_app(scope, receive, send)

    async def _enter_tenant(
        self, scope: Scope, credential: str, selected: list[str], permission: str | None
    ) -> None:
        entry = await self._resolver.resolve(credential, selected)
        principal = entry.principal
        state = scope["state"]
        state["tenant_id"], state["actor"] = entry.tenant_id, principal.actor
        # By who it is, never by an address that a header claims; and before all else, so that a
        # refusal of what follows is counted too.
        per_second = principal.limits.requests_per_second
        if per_second is not None:
            standing = await self._rates.take(entry.tenant_id, principal.actor, per_second)
            state["rate_limit"] = standing.headers
            if standing.retry_after:
                raise RateLimited(per_second, retry_after_seconds=standing.retry_after)
        if permission is None or permission not in principal.permissions:
            raise PermissionDenied(permission or "that no role has")
        context.bind(principal, _origin(scope))

    async def _enter_platform(self, scope: Scope, credential: str) -> None:
        actor = f"platform:{self._operator(credential)}"
        scope["state"]["actor"] = actor
        context.bind(None, _origin(scope))

    def _operator(self, credential: str) -> str:
        if hmac.compare_digest(credential.encode("latin-1", "replace"), self._platform_key):
            return "key"
        return self._platform_tokens.verify(credential).subject


def _is_generated_options(scope: Scope, opt: dict[str, Any]) -> bool:
    """Litestar's own OPTIONS handler: it declares nothing, and tells the methods of a path."""
    return not opt and scope.get("method") == "OPTIONS"


def _credential(scope: Scope) -> tuple[str, list[str]]:
    """The one credential of the request, and every X-Tenant-ID header."""
    found: list[str] = []
    selected: list[str] = []
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, text = value.decode("latin-1").partition(" ")
            if scheme.lower() != "bearer":
                raise Unauthenticated
            found.append(text.strip())
        elif name == b"x-api-key":
            if not value.startswith(b"sk_"):
                raise Unauthenticated
            found.append(value.decode("latin-1"))
        elif name == b"x-tenant-id":
            selected.append(value.decode("latin-1"))
    if len(found) != 1 or not found[0]:
        # Two credentials could disagree about the tenant.
        raise Unauthenticated
    return found[0], selected


def _origin(scope: Scope) -> RequestOrigin:
    client = scope.get("client")
    # The address of the socket: X-Forwarded-For is the caller's own word.
    return RequestOrigin(scope["state"]["request_id"], client[0] if client else "")
