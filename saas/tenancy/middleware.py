"""The one middleware: credential in, principal in the context, a unit of work around it all."""

import hmac
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from saas import context
from saas.auth.keys import SCHEME
from saas.auth.permissions import require
from saas.auth.tokens import TokenIssuer
from saas.context import NO_ORIGIN, Principal, RequestOrigin
from saas.db.database import Database
from saas.db.transaction import Transaction
from saas.errors import RateLimited, Unauthenticated
from saas.tenancy.access_entry import Access
from saas.tenancy.access_grants import record_use
from saas.tenancy.admission import Admission
from saas.tenancy.rate_limits import RateLimits
from saas.tenancy.resolver import Resolver

_READS = frozenset({"GET", "HEAD"})
_CREDENTIALS = frozenset({b"authorization", b"x-api-key"})
_LONGEST = 2_000
# What stands around the handler of a POST, inside its transaction.
Post = Callable[[Scope, Receive, Send, ASGIApp], Awaitable[None]]


class TenancyMiddleware(ASGIMiddleware):
    """Every handler is on one plane, by its `opt`: `tenant` (the default) needs a `permission`,
    which may be EVERYONE, `platform` an operator's credential, `open` nothing. What is not declared
    is refused. A member needs an `own_permission` alone where his own id stands in the path.
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
        if plane == "platform":
            work = self._enter_platform(scope, credential)
        else:
            work = await self._enter_tenant(scope, credential, selected)
        async with work:
            if scope.get("method") == "POST":
                await self._post(scope, receive, send, next_app)
            else:
                await next_app(scope, receive, send)

    async def _enter_tenant(
        self, scope: Scope, credential: str, selected: list[str]
    ) -> Transaction:
        entry = await self._resolver.resolve(credential, selected)
        principal, access = entry.principal, entry.access
        state = scope["state"]
        state["tenant_id"], state["actor"] = entry.tenant_id, principal.actor
        state["is_api_key"] = credential.startswith(SCHEME)
        state["key_version"] = entry.key.version if entry.key else None
        state["is_person"] = entry.person is not None
        # By who it is, never by an address that a header claims; and before all else, so that a
        # refusal of what follows is counted too.
        per_second = principal.limits.requests_per_second
        if per_second is not None:
            standing = await self._rates.take(entry.tenant_id, principal.actor, per_second)
            state["rate_limit"] = standing.headers
            if standing.retry_after:
                raise RateLimited(per_second, retry_after_seconds=standing.retry_after)
        permission = _needed(scope, principal)
        admission = Admission(self._resolver, credential, selected, permission)
        context.bind(principal, origin_of(scope), admission.renew)
        if access is not None:
            # Before its effect, and also where it is refused: the tenant reads of every attempt.
            await record_use(self._database.platform, _use(scope, access))
        require(permission, principal.permissions)
        # READ ONLY whatever the handler does: a second lock behind an operator's permissions.
        read_only = _is_reading(scope) or (access is not None and not access.may_write)
        return Transaction(self._database.app, read_only=read_only, recheck=admission.recheck)

    def _enter_platform(self, scope: Scope, credential: str) -> Transaction:
        actor = f"platform:{self._operator(credential)}"
        scope["state"]["actor"] = actor
        context.bind(None, origin_of(scope))
        return Transaction(self._database.platform, read_only=_is_reading(scope))

    def _operator(self, credential: str) -> str:
        if hmac.compare_digest(credential.encode("latin-1", "replace"), self._platform_key):
            return "key"
        return self._platform_tokens.verify(credential).subject


def origin_of(scope: Scope) -> RequestOrigin:
    """Where a request comes from, for the audit log."""
    client = scope.get("client")
    # The address of the socket: X-Forwarded-For is the caller's own word.
    return RequestOrigin(scope["state"]["request_id"], client[0] if client else "")


def optional_credential(scope: Scope) -> str | None:
    """The credential of a request on the open plane, if it has one. Raises Unauthenticated for what
    cannot be one, and for two."""
    given = {name for name, _ in scope["headers"]}
    return None if given.isdisjoint(_CREDENTIALS) else _credential(scope)[0]


def _is_reading(scope: Scope) -> bool:
    return scope.get("method") in _READS


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
            # Blanks alone: str.strip() would give one token more spellings.
            found.append(text.strip(" "))
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


def _needed(scope: Scope, principal: Principal) -> str:
    """The permission for this request."""
    opt = scope["route_handler"].opt
    is_own = principal.actor == f"member:{scope['path_params'].get('id')}"
    permission: str = opt.get("permission", "that no role has")
    return opt.get("own_permission", permission) if is_own else permission


def _use(scope: Scope, access: Access) -> dict[str, Any]:
    """What the tenant reads of an operator's request. As text of a URL, which any log can hold."""
    return {
        "grant": access.grant_id,
        "method": scope.get("method"),
        "path": quote(scope["path"])[:_LONGEST],
        "query": quote(scope["query_string"], safe="&=(),.:*-_~%+")[:_LONGEST],
    }
