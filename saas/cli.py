"""The `saas` command: a thin shell around what the packages do."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import rich_click as click
from rich.console import Console

from saas.cli_lint import lint
from saas.cli_new import new
from saas.cli_plans import plan
from saas.cli_tenants import tenant, token
from saas.db.doctor import check_installation
from saas.db.migrate import migrate as run_migrations
from saas.db.roles import APP, LOGIN_ROLES, MIGRATOR, PLATFORM
from saas.db.roles import bootstrap as run_bootstrap
from saas.dev.run import run, running_database
from saas.errors import ConfigurationError, SaasError
from saas.installation import resolved
from saas.secret_files import make_secrets, passwords_in
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
    if settings.migration_database_url is not None:
        run_migrations(settings.migration_database_url)
    elif settings.is_embedded:
        with running_database(settings, err, prepare=True):
            return
    else:
        raise ConfigurationError("SAAS_MIGRATION_DATABASE_URL is needed")


@cli.command()
@click.argument("admin_url", required=False)
@click.option("--database", default="saas", show_default=True, help="The database to create.")
@click.option("--app-password", envvar="SAAS_APP_PASSWORD", help="For the role saas_app.")
@click.option("--platform-password", envvar="SAAS_PLATFORM_PASSWORD", help="For saas_platform.")
@click.option("--migrator-password", envvar="SAAS_MIGRATOR_PASSWORD", help="For saas_migrator.")
@click.option(
    "--secrets",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder made by `saas secrets`, instead of the address and passwords.",
)
def bootstrap(
    admin_url: str | None, database: str, folder: Path | None, **given: str | None
) -> None:
    """Create roles and database on an existing PostgreSQL 18, as its administrator. Repeatable."""
    if folder is not None:
        admin_url = (folder / "admin_url").read_text(encoding="utf-8").strip()
        passwords = passwords_in(folder)
    else:
        by_role = {
            APP: given["app_password"],
            PLATFORM: given["platform_password"],
            MIGRATOR: given["migrator_password"],
        }
        passwords = {role: password for role, password in by_role.items() if password}
    if admin_url is None:
        raise ConfigurationError("give the address of an administrator, or --secrets")
    run_bootstrap(admin_url, database=database, passwords=passwords)
    out.print(f"Roles {', '.join(LOGIN_ROLES)} and database {database} are ready.")


@cli.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--host", required=True, help="Where PostgreSQL will be reached.")
@click.option("--port", default=5432, show_default=True)
def secrets(folder: Path, host: str, port: int) -> None:
    """Make the secrets of an installation as files for the SAAS_…_FILE settings; keep those that
    are there."""
    make_secrets(folder, host=host, port=port)


@cli.command()
def doctor() -> None:
    """Check roles, row-level security, grants, triggers and schema. Exit code 1 on a fault."""
    # The check knows the models that are imported; the other commands start faster without them.
    import_module("saas.schema")
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


cli.add_command(lint)
cli.add_command(new)
cli.add_command(plan)
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
