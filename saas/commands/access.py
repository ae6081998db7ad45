"""`saas tenant access`: break-glass from the operator's terminal, by the same code as the API's."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import rich_click as click
from rich.markup import escape

from saas.commands.in_tenant import as_json
from saas.commands.on_database import (
    find_tenant,
    minute,
    print_json,
    show_ended,
    show_rows,
    with_database,
)
from saas.commands.refusals import checked, naming
from saas.db.database import Database
from saas.db.query import MAX_LIMIT, ListQuery
from saas.db.transaction import platform_transaction
from saas.settings import Settings
from saas.tenancy.access_grants import (
    AccessRead,
    AccessWish,
    OpenedAccess,
    accesses,
    open_access,
    revoke_access,
)

ACTOR = "platform:cli"


@click.group()
def access() -> None:
    """Enter a tenant for a reason and a while; it reads of that in its own log."""


@access.command("open")
@click.argument("tenant")
@click.option("--reason", required=True, help="The tenant reads it.")
@click.option("--minutes", default=60, show_default=True, type=click.IntRange(1, 1440))
@click.option("--write", is_flag=True, help="Change rows too, not only read them.")
@as_json
def open_tenant(tenant: str, reason: str, minutes: int, write: bool, as_json: bool) -> None:
    """Print a credential for the tenant's own routes, shown this once."""
    ends = datetime.now(UTC) + timedelta(minutes=minutes)
    given = {"reason": reason, "expires_at": ends, "write": write}
    wish = checked(given, AccessWish, {"/reason": "--reason"})

    async def work(database: Database, _: Settings) -> OpenedAccess:
        id = (await find_tenant(database, tenant)).id
        async with platform_transaction(database):
            return await open_access(id, wish, operator=ACTOR)

    opened = with_database(work)
    if as_json:
        print_json(opened)
    else:
        click.echo(opened.access_token)


@access.command("list")
@click.argument("tenant")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for scripts.")
def list_accesses(tenant: str, as_json: bool) -> None:
    """Print the newest hundred accesses to a tenant."""

    async def work(database: Database, _: Settings) -> list[AccessRead]:
        id = (await find_tenant(database, tenant)).id
        async with platform_transaction(database):
            return (await accesses(id, ListQuery(limit=MAX_LIMIT), operator=ACTOR)).items

    rows = with_database(work)
    columns = ("operator", "reason", "writes", "until", "revoked")
    show_rows(rows, columns, _cells, as_json=as_json)


def _cells(row: AccessRead) -> tuple[str, ...]:
    words = (row.operator, row.reason, "yes" if row.may_write else "no")
    return (*map(escape, words), minute(row.expires_at), minute(row.revoked_at))


@access.command("revoke")
@click.argument("tenant")
@click.argument("grant", type=click.UUID)
@as_json
def revoke(tenant: str, grant: UUID, as_json: bool) -> None:
    """End an access, everywhere within 5 s."""

    async def work(database: Database, _: Settings) -> None:
        id = (await find_tenant(database, tenant)).id
        async with platform_transaction(database):
            with naming(f"access {grant} to tenant {tenant}"):
                await revoke_access(id, grant, operator=ACTOR)

    with_database(work)
    show_ended(grant, as_json)
