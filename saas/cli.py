"""The `saas` command: a thin shell around what the packages do."""

import sys
from typing import Any

import rich_click as click
from rich.console import Console

from saas.cli_tenants import tenant, token
from saas.db.doctor import check_installation
from saas.db.migrate import migrate as run_migrations
from saas.db.roles import APP, LOGIN_ROLES, MIGRATOR, PLATFORM
from saas.db.roles import bootstrap as run_bootstrap
from saas.dev.run import run, running_database
from saas.errors import ConfigurationError, SaasError
from saas.installation import resolved
from saas.server import serve as run_server
from saas.settings import load_settings

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


cli.add_command(tenant)
cli.add_command(token)


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; a refusal is one line and exit code 2."""
    try:
        return cli(args=arguments)
    except (ConfigurationError, SaasError) as error:
        err.print(f"saas: {error}", markup=False)
        sys.exit(2)


if __name__ == "__main__":
    main()
