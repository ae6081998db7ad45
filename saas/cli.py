"""The `saas` command: a thin shell around what the packages do."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
import rich_click as click
from rich.console import Console
from rich.table import Table

from saas.auth.tokens import TokenIssuer, signing_key_from
from saas.db.database import Database
from saas.db.doctor import check_installation
from saas.db.migrate import migrate as run_migrations
from saas.db.roles import APP, LOGIN_ROLES, MIGRATOR, PLATFORM
from saas.db.roles import bootstrap as run_bootstrap
from saas.db.transaction import platform_transaction
from saas.dev.run import run, running_database
from saas.errors import ConfigurationError, SaasError
from saas.installation import resolved
from saas.server import serve as run_server
from saas.settings import Settings, load_settings
from saas.tenancy.directory import TenantRead, tenant_by_slug, tenants_after
from saas.tenancy.onboarding import Onboard, Onboarded, onboard

Result = TypeVar("Result")

out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)


@click.group()
def cli() -> None:
    """A multi-tenant SaaS backend. Settings: environment variables SAAS_… or `.env`."""


@cli.command()
def dev() -> None:
    """Start everything: embedded PostgreSQL, migrations, two demo tenants, the server."""
    sys.exit(run(load_settings(), out))


@cli.command()
@click.option("--stop-with-parent", is_flag=True, hidden=True)
def serve(stop_with_parent: bool) -> None:
    """Serve the API; the database must run and be migrated."""
    run_server(resolved(load_settings()), stop_with_parent=stop_with_parent)


@cli.command()
def migrate() -> None:
    """Bring the database to the newest schema. Two at once wait for each other."""
    settings = load_settings()
    if settings.is_embedded:
        with running_database(settings, err):
            return
    url = settings.migration_database_url
    if url is None:
        raise ConfigurationError("SAAS_MIGRATION_DATABASE_URL is needed")
    run_migrations(url)


@cli.command()
@click.argument("admin_url")
@click.option("--database", default="saas", show_default=True, help="The database to create.")
@click.option("--app-password", envvar="SAAS_APP_PASSWORD", help="For the role saas_app.")
@click.option("--platform-password", envvar="SAAS_PLATFORM_PASSWORD", help="For saas_platform.")
@click.option("--migrator-password", envvar="SAAS_MIGRATOR_PASSWORD", help="For saas_migrator.")
def bootstrap(admin_url: str, database: str, **given: str | None) -> None:
    """Create roles and database on an existing PostgreSQL 18, as its administrator. Repeatable."""
    by_role = {
        APP: given["app_password"],
        PLATFORM: given["platform_password"],
        MIGRATOR: given["migrator_password"],
    }
    passwords = {role: password for role, password in by_role.items() if password}
    run_bootstrap(admin_url, database=database, passwords=passwords)
    out.print(f"Roles {', '.join(LOGIN_ROLES)} and database {database} are ready.")


@cli.command()
def doctor() -> None:
    """Check roles, row-level security, grants, triggers and schema. Exit code 1 on a fault."""
    with running_database(load_settings(), err) as settings:
        findings = check_installation(
            str(settings.database_url),
            str(settings.platform_database_url),
            environment=settings.environment,
        )
    for warning in findings.warnings:
        out.print(f"warning: {warning}", markup=False)
    for error in findings.errors:
        out.print(f"error: {error}", markup=False)
    if findings.errors:
        sys.exit(1)
    out.print("Both locks are in place.")


@cli.command()
@click.argument("role", type=click.Choice(["app", "platform", "migrator"]), default="app")
def url(role: str) -> None:
    """Print the database address of the running installation, for psql and other tools."""
    settings = resolved(load_settings())
    addresses = {
        "app": settings.database_url,
        "platform": settings.platform_database_url,
        "migrator": settings.migration_database_url,
    }
    if addresses[role] is None:
        raise ConfigurationError(f"no database address is set for {role}")
    click.echo(addresses[role])


@cli.group()
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

    async def work(_: Settings) -> Onboarded:
        return await onboard(checked, actor="platform:cli")

    done = _on_platform(work)
    if as_json:
        shown = {"tenant": done.tenant, "owner_id": done.owner_id, "api_key": done.api_key.text}
        click.echo(msgspec.json.encode(shown).decode())
    else:
        out.print(f"Tenant {slug} is {done.tenant.id}.\nIts first API key, shown this once:")
        click.echo(done.api_key.text)


@tenant.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for scripts.")
def list_tenants(as_json: bool) -> None:
    """Print all tenants by slug."""

    async def work(_: Settings) -> list[TenantRead]:
        found: list[TenantRead] = []
        while page := await tenants_after(found[-1].slug if found else "", 500):
            found += page
        return found

    tenants = _on_platform(work)
    if as_json:
        for row in tenants:
            click.echo(msgspec.json.encode(row).decode())
        return
    table = Table("slug", "id", "name", "plan", "status", "created")
    for row in tenants:
        created = f"{row.created_at:%Y-%m-%d %H:%M}"
        table.add_row(row.slug, str(row.id), row.name, row.plan, row.status, created)
    out.print(table)


@cli.command()
@click.option("--tenant", "slug", help="The tenant's slug; without it a platform token.")
@click.option("--subject", required=True, help="A member's id, key:<id>, or an operator's name.")
@click.option("--ttl", "ttl_seconds", default=900, show_default=True, help="Lifetime in seconds.")
def token(slug: str | None, subject: str, ttl_seconds: int) -> None:
    """Print a signed access token."""

    async def work(settings: Settings) -> str:
        found = await tenant_by_slug(slug) if slug else None
        issuer = TokenIssuer(
            signing_key_from(settings),
            issuer=settings.jwt_issuer,
            audience=settings.jwt_audience if found else settings.platform_audience,
            requires_tenant=found is not None,
        )
        tenant_id = found.id if found else None
        return issuer.issue(subject, tenant_id=tenant_id, ttl_seconds=ttl_seconds)

    click.echo(_on_platform(work))


def _on_platform(work: Callable[[Settings], Awaitable[Result]]) -> Result:
    """Run `work` in one transaction of the platform role."""

    async def main(settings: Settings) -> Result:
        urls = str(settings.database_url), str(settings.platform_database_url)
        async with Database(*urls, size=2) as database, platform_transaction(database):
            return await work(settings)

    with running_database(load_settings(), err) as settings:
        return asyncio.run(main(settings))


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; a refusal is one line and exit code 2."""
    try:
        return cli(args=arguments)
    except (ConfigurationError, SaasError) as error:
        err.print(f"saas: {error}", markup=False)
        sys.exit(2)


if __name__ == "__main__":
    main()
