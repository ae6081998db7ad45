"""Whether a request that was let in may still go on: a revoked credential or a suspended tenant
ends long answers and slow uploads too."""

import time
from collections.abc import Awaitable
from contextvars import ContextVar

from saas.auth.permissions import require
from saas.tenancy.resolver import Resolver

# Where nothing is remembered, asking again at each step of a request would be asked too much.
_SHORTEST_SECONDS = 0.1


class Admission:
    """One request's leave to act, by the credential and permission that it was let in with."""

    __slots__ = ("_at", "_credential", "_permission", "_resolver", "_selected")

    def __init__(
        self, resolver: Resolver, credential: str, selected: list[str], permission: str
    ) -> None:
        self._resolver = resolver
        self._credential = credential
        self._selected = selected
        self._permission = permission
        self._at = time.monotonic()

    def recheck(self) -> Awaitable[None] | None:
        """What to wait for before a transaction begins; None where the request was let in a moment
        ago. A caller decides how slowly its body comes."""
        age = time.monotonic() - self._at
        is_fresh = age <= max(self._resolver.cache_seconds, _SHORTEST_SECONDS)
        return None if is_fresh else self.renew()

    async def renew(self) -> None:
        """Resolve the credential again, which is remembered for at most 5 s. Raises
        Unauthenticated, TenantSuspended, NotFound, PermissionDenied."""
        entry = await self._resolver.resolve(self._credential, self._selected)
        require(self._permission, entry.principal.permissions)
        self._at = time.monotonic()


_admission: ContextVar[Admission | None] = ContextVar("admission", default=None)


def admit(admission: Admission | None) -> None:
    """Set it for the current task, also to nothing, at the entry of every request."""
    _admission.set(admission)


async def require_admission() -> None:
    """For what takes long, before each piece of it: raises once the caller is cut off, 5 s later at
    most. Outside a tenant's request there is nothing to ask."""
    admission = _admission.get()
    if admission is not None:
        await admission.renew()
