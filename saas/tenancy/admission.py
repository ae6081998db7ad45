"""Whether a request that was let in may still go on: a revoked credential or a suspended tenant
ends long answers and slow uploads too."""

import time
from collections.abc import Awaitable

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

    async def renew(self, permission: str | None = None) -> None:
        """Resolve the credential again, which is remembered for at most 5 s, and ask for one more
        `permission` if it is given. Raises Unauthenticated, TenantSuspended, NotFound,
        PermissionDenied."""
        entry = await self._resolver.resolve(self._credential, self._selected)
        for needed in (self._permission, permission or self._permission):
            require(needed, entry.principal.permissions)
        self._at = time.monotonic()
