"""An operator's work inside one tenant: the same code as the API's, as `platform:cli`."""

from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID

import rich_click as click
from rich.markup import escape

from saas.app import RESOURCES
from saas.auth.permissions import PermissionCatalogue
from saas.commands.on_database import find_tenant, with_database
from saas.commands.refusals import checked
from saas.context import Principal, acting_as
from saas.db.database import Database
from saas.db.transaction import transaction
from saas.errors import WrongTenantStatus
from saas.settings import Settings
from saas.tenancy.lifecycle_statements import OPEN

Result = TypeVar("Result")

of_tenant = click.option("--tenant", "slug", required=True, help="The tenant's slug or id.")
as_json = click.option("--json", "as_json", is_flag=True, help="For scripts.")


def catalogue() -> PermissionCatalogue:
    """All permissions of the installation."""
    return PermissionCatalogue(resource.name for resource in RESOURCES)


def in_tenant(name: str, work: Callable[[Settings], Awaitable[Result]]) -> Result:
    """What `work` gives, in a transaction on the tenant's rows. Nobody in the tenant has let the
    operator in, so he has every permission; the tenant's audit log names him."""

    async def enter(database: Database, settings: Settings) -> Result:
        tenant = await find_tenant(database, name)
        if tenant.status not in OPEN:
            # What was made now could be there when the purge has emptied its table.
            raise WrongTenantStatus("This tenant is deleted; nobody enters it.", tenant.status)
        who = Principal(tenant_id=tenant.id, actor="platform:cli", permissions=catalogue().all)
        with acting_as(who):
            async with transaction(database):
                return await work(settings)

    return with_database(enter)


def row_id(text: str) -> UUID:
    """Raises ConfigurationError."""
    id: UUID = checked(text, UUID, text)
    return id


def cell(text: str) -> str:
    """A text of the tenant's for a table of the operator's. Without what a terminal would obey: the
    name of a member is whatever somebody outside has typed."""
    return escape("".join(sign if sign.isprintable() else "\ufffd" for sign in text))
