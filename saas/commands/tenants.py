"""The commands about tenants: the same code as the API's, in the operator's terminal."""

import rich_click as click
from rich.markup import escape
from rich.table import Column, Table

from saas.commands.access import access
from saas.commands.archives import ARCHIVES
from saas.commands.lifecycle import COMMANDS
from saas.commands.on_database import out, print_json, with_database
from saas.commands.refusals import checked, naming_plan
from saas.db.database import Database
from saas.db.transaction import platform_transaction
from saas.settings import Settings, load_settings
from saas.tenancy.directory import TenantRead, all_tenants
from saas.tenancy.onboarding import Onboard, Onboarded, onboard

_NAMES = {
    "/slug": "slug",
    "/name": "--name",
    "/plan": "--plan",
    "/owner/email": "--owner-email",
    "/owner/name": "--owner-name",
}


@click.group()
def tenant() -> None:
    """Tenants, from onboarding to the certificate of their deletion."""


@tenant.command("create")
@click.argument("slug")
@click.option("--name", help="The display name.  [default: the slug]")
@click.option("--plan", default="free", show_default=True)
@click.option("--owner-email", required=True)
@click.option("--owner-name", help="[default: the email address]")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def create_tenant(
    slug: str,
    name: str | None,
    plan: str,
    owner_email: str,
    owner_name: str | None,
    as_json: bool,
) -> None:
    """Onboard a tenant: tenant, owner and first API key, all or nothing."""
    wish = {
        "slug": slug,
        "name": name or slug,
        "plan": plan,
        "owner": {"email": owner_email, "name": owner_name or owner_email},
    }
    asked = checked(wish, Onboard, _NAMES)

    async def work(database: Database, _: Settings) -> Onboarded:
        async with platform_transaction(database):
            with naming_plan(plan):
                return await onboard(asked, actor="platform:cli")

    settings = load_settings()
    # A fresh embedded installation is made on the way; nobody's own server is migrated unasked.
    done = with_database(work, prepare=settings.is_embedded)
    if as_json:
        shown = {"tenant": done.tenant, "owner_id": done.owner_id, "api_key": done.api_key.text}
        print_json(shown)
    else:
        out.print(f"Tenant {slug} is {done.tenant.id}.\nIts first API key, shown this once:")
        click.echo(done.api_key.text)


@tenant.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for scripts.")
def list_tenants(as_json: bool) -> None:
    """Print all tenants, the newest first."""

    async def work(database: Database, _: Settings) -> list[TenantRead]:
        async with platform_transaction(database):
            return await all_tenants()

    tenants = with_database(work)
    if as_json:
        for row in tenants:
            print_json(row)
        return
    table = Table(
        "slug",
        Column("id", no_wrap=True),
        "name",
        "plan",
        "status",
        Column("created", no_wrap=True),
    )
    for row in tenants:
        created = f"{row.created_at:%Y-%m-%d %H:%M}"
        table.add_row(row.slug, str(row.id), escape(row.name), row.plan, row.status, created)
    out.print(table)


for command in (*COMMANDS, *ARCHIVES, access):
    tenant.add_command(command)
