"""The commands about the database and its secrets."""

import os
import sys
from importlib import import_module
from pathlib import Path

import rich_click as click
from rich.console import Console

from saas.db.doctor import check_installation
from saas.db.migrate import migrate as run_migrations
from saas.db.roles import APP, LOGIN_ROLES, MIGRATOR, PLATFORM
from saas.db.roles import bootstrap as run_bootstrap
from saas.dev.home import recorded_home
from saas.dev.postmaster import find_postmaster
from saas.dev.running import running_database
from saas.errors import ConfigurationError
from saas.installation import resolved
from saas.secret_files import make_secrets, passwords_in
from saas.settings import load_settings

out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)


@click.command()
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


@click.command()
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


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--host", required=True, help="Where PostgreSQL will be reached.")
@click.option("--port", default=5432, show_default=True)
def secrets(folder: Path, host: str, port: int) -> None:
    """Make the secrets of an installation as files for the SAAS_…_FILE settings; keep those that
    are there."""
    make_secrets(folder, host=host, port=port)


@click.command()
@click.option(
    "--reconcile",
    "reconciles",
    is_flag=True,
    help="Instead: count anew what tenants have and do, and print each figure that differs.",
)
@click.option("--repair", "repairs", is_flag=True, help="Set right what --reconcile finds.")
@click.option("--tenant", help="Of this tenant alone, by slug or id.")
@click.option("--json", "as_json", is_flag=True, help="What --reconcile finds, for scripts.")
def doctor(reconciles: bool, repairs: bool, tenant: str | None, as_json: bool) -> None:
    """Check roles, row-level security, grants, triggers and schema, or, with --reconcile, the
    figures of usage, also while tenants are at work. Exit code 1 on a fault."""
    if reconciles:
        command = import_module("saas.commands.reconcile")
        command.reconcile(command.Wish(tenant, repairs, as_json))
        return
    if repairs or tenant or as_json:
        raise ConfigurationError("--repair, --tenant and --json go with --reconcile")
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


@click.command()
@click.argument("role", type=click.Choice(["app", "platform", "migrator"]), default="app")
def url(role: str) -> None:
    """Print the database address of the installation, for psql and other tools. The embedded
    server must run."""
    given = load_settings()
    if given.is_embedded:
        _require_running(given.data_path)
    settings = resolved(given)
    addresses = {
        "app": settings.database_url,
        "platform": settings.platform_database_url,
        "migrator": settings.migration_database_url,
    }
    if addresses[role] is None:
        raise ConfigurationError(f"no database address is set for {role}")
    click.echo(addresses[role])


def _require_running(data_path: Path) -> None:
    """Raises ConfigurationError where the address would be that of nothing."""
    home = recorded_home(Path(os.path.realpath(data_path)))
    if find_postmaster(home / "pg") is None:
        raise ConfigurationError(
            f"no installation runs in {data_path}: start it (`make run`, `saas dev`), or name the "
            "folder of the one that does in SAAS_DATA_DIR"
        )
