"""What the commands share that move many rows of one tenant, in transactions of their own."""

from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any, TypeVar

from saas.commands.on_database import find_tenant, with_database
from saas.context import Principal, acting_as
from saas.db.database import Database
from saas.errors import ConfigurationError, WrongTenantStatus
from saas.settings import Settings
from saas.tenancy.lifecycle_statements import OPEN

Result = TypeVar("Result")

# Rows, what is told of them, and who follows both.
_CONNECTIONS = 4
# Statements that nobody waits for at a socket; below the time in which a connection counts as lost.
_STATEMENT_TIMEOUT_MS = 55_000


def in_tenant(
    name: str, work: Callable[[Database], Awaitable[Result]], *, writes: bool = True
) -> Result:
    """Run `work` acting in the tenant of this slug or id, as `platform:cli` in its audit log.
    Raises NotFound for an unknown one, WrongTenantStatus for one that is deleted or, where the work
    `writes`, not active."""

    async def act(database: Database, _: Settings) -> Result:
        tenant = await find_tenant(database, name)
        if tenant.status not in OPEN or (writes and tenant.status != "active"):
            raise WrongTenantStatus(f"This tenant is {tenant.status}.", tenant.status)
        principal = Principal(
            tenant_id=tenant.id, actor="platform:cli", statement_timeout_ms=_STATEMENT_TIMEOUT_MS
        )
        with acting_as(principal):
            return await work(database)

    return with_database(act, size=_CONNECTIONS)


def resources() -> dict[str, Any]:
    """The product's resources by name."""
    # The app has every library of the server; who asks for help does not wait for them.
    return {resource.name: resource for resource in import_module("saas.app").RESOURCES}


def resource_named(name: str) -> Any:
    """Raises ConfigurationError naming all that there are."""
    known = resources()
    if name not in known:
        raise ConfigurationError(f"there is no resource {name!r}: give {', '.join(known)}")
    return known[name]
