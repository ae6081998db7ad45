"""Who acts, and for which tenant: one frozen value in one contextvar.

The middleware sets it for a request, `acting_as` for jobs, scripts and tests. Tenant and actor
travel together, so they can never disagree.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from uuid import UUID

import msgspec

from saas.errors import Unbound
from saas.limits import NO_LIMITS, Limits


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """An authenticated actor inside one tenant.

    `actor` reads `member:<uuid>`, `key:<uuid>`, `platform:<name>` or `system:<job>`.
    `statement_timeout_ms` bounds each SQL statement made on its behalf; 0 means no bound.
    `limits` are what the tenant may use; jobs and operators have none unless they are given some.
    """

    tenant_id: UUID
    actor: str
    permissions: frozenset[str] = frozenset()
    statement_timeout_ms: int = 30_000
    limits: Limits = NO_LIMITS


def tenant_principal(
    tenant_id: UUID,
    *,
    job: str,
    permissions: Iterable[str] = (),
    statement_timeout_ms: int = 30_000,
    limits: Limits = NO_LIMITS,
) -> Principal:
    """The principal of a job, script or test: `with acting_as(tenant_principal(id, job="nightly"))`
    writes `system:nightly` into the audit log. `saas.tenancy.directory` finds the id of a slug."""
    return Principal(
        tenant_id=tenant_id,
        actor=f"system:{job}",
        permissions=frozenset(permissions),
        statement_timeout_ms=statement_timeout_ms,
        limits=limits,
    )


class RequestOrigin(msgspec.Struct, frozen=True):
    """Where a change comes from, for the audit log. Empty strings outside a request."""

    request_id: str = ""
    ip: str = ""


_principal: ContextVar[Principal | None] = ContextVar("principal", default=None)
NO_ORIGIN = RequestOrigin()
_origin: ContextVar[RequestOrigin] = ContextVar("origin", default=NO_ORIGIN)


def principal() -> Principal:
    """The acting principal. Raises Unbound when there is none: fail closed."""
    current = _principal.get()
    if current is None:
        raise Unbound("no tenant is bound: enter acting_as(...) or come through the middleware")
    return current


def principal_or_none() -> Principal | None:
    return _principal.get()


def origin() -> RequestOrigin:
    return _origin.get()


Recheck = Callable[[str | None], Awaitable[None]]
_recheck: ContextVar[Recheck | None] = ContextVar("recheck", default=None)


def bind(
    new_principal: Principal | None, new_origin: RequestOrigin, recheck: Recheck | None = None
) -> None:
    """Set all for the current task, also to nothing: the middleware calls this at the entry of
    every request, because a server may run it in the context of the request before
    (https://github.com/python/cpython/issues/140947). `recheck` asks once more whether the caller
    may act, by one more permission if it is given one, and raises if not."""
    _principal.set(new_principal)
    _origin.set(new_origin)
    _recheck.set(recheck)


async def require_admission(permission: str | None = None) -> None:
    """For what takes long, before each piece of it: raises once the caller is cut off, 5 s later at
    most. `permission` is one that it needs besides its route's. Outside a tenant's request there is
    nothing to ask."""
    recheck = _recheck.get()
    if recheck is not None:
        await recheck(permission)


def entering(tenant_id: UUID, actor: str) -> AbstractContextManager[None]:
    """Act inside this tenant from where the platform's own work comes from, as its `actor`."""
    return acting_as(Principal(tenant_id=tenant_id, actor=actor), origin())


@contextmanager
def acting_as(
    new_principal: Principal, request_origin: RequestOrigin | None = None
) -> Iterator[None]:
    """Act as `new_principal` inside the block; the principal before it is back after it."""
    principal_token = _principal.set(new_principal)
    origin_token = _origin.set(request_origin or NO_ORIGIN)
    try:
        yield
    finally:
        _origin.reset(origin_token)
        _principal.reset(principal_token)
