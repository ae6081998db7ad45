"""The commands about tenants: the same code as the API's, in the operator's terminal."""

from uuid import UUID

import msgspec
import rich_click as click
from rich.markup import escape
from rich.table import Column, Table

from saas.auth.signing_key import signing_key_from
from saas.auth.tokens import TokenIssuer
from saas.cli_database import out, with_database
from saas.context import Principal, acting_as
from saas.db.database import Database
from saas.db.transaction import platform_transaction, transaction
from saas.errors import ConfigurationError
from saas.settings import Settings, load_settings
from saas.tenancy.directory import TenantRead, all_tenants, first_owner, tenant_by_slug
from saas.tenancy.onboarding import Onboard, Onboarded, onboard


@click.group()
def tenant() -> None:
    """Onboard and list tenants."""


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
    try:
        checked = msgspec.convert(wish, Onboard)
    except msgspec.ValidationError as error:
        raise ConfigurationError(str(error)) from None

    async def work(database: Database, _: Settings) -> Onboarded:
        async with platform_transaction(database):
            return await onboard(checked, actor="platform:cli")

    settings = load_settings()
    # A fresh embedded installation is made on the way; nobody's own server is migrated unasked.
    done = with_database(work, prepare=settings.is_embedded)
    if as_json:
        shown = {"tenant": done.tenant, "owner_id": done.owner_id, "api_key": done.api_key.text}
        click.echo(msgspec.json.encode(shown).decode())
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
            click.echo(msgspec.json.encode(row).decode())
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


@click.command()
@click.option("--tenant", "slug", help="The tenant's slug; without it a platform token.")
@click.option(
    "--subject",
    help="A member's id or key:<id>, or an operator's name.  [default: the first owner, or cli]",
)
@click.option("--ttl", "ttl_seconds", default=900, show_default=True, help="Lifetime in seconds.")
def token(slug: str | None, subject: str | None, ttl_seconds: int) -> None:
    """Print a signed access token."""

    async def work(database: Database, settings: Settings) -> str:
        tenant_id = await _tenant_id(database, slug) if slug else None
        default = str(await _first_owner(database, tenant_id)) if tenant_id else "cli"
        if tenant_id and subject:
            _check_subject(subject)
        issuer = TokenIssuer(
            signing_key_from(settings),
            issuer=settings.jwt_issuer,
            audience=settings.jwt_audience if tenant_id else settings.platform_audience,
            requires_tenant=tenant_id is not None,
        )
        return issuer.issue(subject or default, tenant_id=tenant_id, ttl_seconds=ttl_seconds)

    click.echo(with_database(work))


def _check_subject(subject: str) -> None:
    try:
        UUID(subject.removeprefix("key:"))
    except ValueError:
        raise ConfigurationError("--subject of a tenant: a member's id or key:<id>") from None


async def _tenant_id(database: Database, slug: str) -> UUID:
    async with platform_transaction(database):
        return (await tenant_by_slug(slug)).id


async def _first_owner(database: Database, tenant_id: UUID) -> UUID:
    with acting_as(Principal(tenant_id=tenant_id, actor="platform:cli")):
        async with transaction(database, read_only=True):
            return await first_owner()
