"""The commands about the life of a tenant: the same code as the API's, in the operator's
terminal."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib import import_module
from uuid import UUID

import msgspec
import rich_click as click
from rich.markup import escape
from rich.table import Table

from saas.commands.on_database import err, find_tenant, out, print_json, with_database
from saas.commands.refusals import naming, naming_plan
from saas.db.database import Database
from saas.db.transaction import platform_transaction
from saas.errors import PurgeRunning, Unavailable
from saas.settings import Settings
from saas.tenancy import lifecycle
from saas.tenancy.deletion import Certificate, certificate_of, digest_of
from saas.tenancy.directory import TenantRead
from saas.tenancy.lifecycle import Grace, TenantChanges
from saas.tenancy.purge import Report, purge

ACTOR = "platform:cli"
# How long a purge by hand waits for the end of a grace period and for others that are at it.
_PATIENCE_SECONDS = 60.0
_PAUSE_SECONDS = 0.5

as_json_option = click.option("--json", "as_json", is_flag=True, help="For scripts.")


@click.command()
@click.argument("tenant")
@as_json_option
def show(tenant: str, as_json: bool) -> None:
    """Print a tenant, by slug or id."""
    _print_tenant(with_database(lambda database, _: find_tenant(database, tenant)), as_json)


@click.command()
@click.argument("tenant")
@as_json_option
def suspend(tenant: str, as_json: bool) -> None:
    """Lock a tenant's members out, everywhere within 5 s."""
    _print_tenant(_changed(tenant, lambda id: lifecycle.suspend(id, actor=ACTOR)), as_json)


@click.command()
@click.argument("tenant")
@as_json_option
def resume(tenant: str, as_json: bool) -> None:
    """Let them in again; undoes `suspend`, and `delete` while the grace period lasts."""
    _print_tenant(_changed(tenant, lambda id: lifecycle.resume(id, actor=ACTOR)), as_json)


@click.command("set-plan")
@click.argument("tenant")
@click.argument("plan")
@as_json_option
def set_plan(tenant: str, plan: str, as_json: bool) -> None:
    """Change a tenant's plan, everywhere within 5 s."""
    changes = TenantChanges(plan=plan)
    with naming_plan(plan):
        row = _changed(tenant, lambda id: lifecycle.change(id, changes, actor=ACTOR))
    _print_tenant(row, as_json)


@click.command()
@click.argument("tenant")
@click.option("--grace-days", type=click.IntRange(0, 365), help="How long it can be undone.")
@click.option("--grace-seconds", type=click.IntRange(0, 365 * 86_400), help="The same, added up.")
@as_json_option
def delete(tenant: str, grace_days: int | None, grace_seconds: int | None, as_json: bool) -> None:
    """Lock a tenant's members out, and have all its rows purged after a grace period."""
    asked = None
    if grace_days is not None or grace_seconds is not None:
        asked = timedelta(days=grace_days or 0, seconds=grace_seconds or 0)

    async def work(database: Database, settings: Settings) -> TenantRead:
        id = (await find_tenant(database, tenant)).id
        grace = Grace(timedelta(days=settings.offboarding_grace_days), asked)
        async with platform_transaction(database):
            return await lifecycle.offboard(id, grace, actor=ACTOR)

    row = with_database(work)
    _print_tenant(row, as_json)
    if not as_json:
        out.print(f"Until {row.purge_at:%Y-%m-%d %H:%M:%S} UTC: saas tenant resume {row.slug}")


@click.command("purge")
@click.argument("tenant")
@as_json_option
def purge_tenant(tenant: str, as_json: bool) -> None:
    """Delete the rows of a tenant whose grace period is over, and print the certificate. It may be
    interrupted and repeated."""
    # Only the models that are imported are known to the purge.
    import_module("saas.schema")

    async def work(database: Database, _: Settings) -> Certificate:
        row = await find_tenant(database, tenant)
        with _progress() as report:
            return await _purged(database, row, report)

    _print_certificate(with_database(work), as_json)


@click.command()
@click.argument("tenant")
@as_json_option
def certificate(tenant: str, as_json: bool) -> None:
    """Print the certificate of a tenant's deletion, by slug or id."""

    async def work(database: Database, _: Settings) -> Certificate:
        row = await find_tenant(database, tenant)
        async with platform_transaction(database):
            with naming(f"certificate of tenant {tenant}, which is {row.status}"):
                return await certificate_of(row.id)

    _print_certificate(with_database(work), as_json)


COMMANDS = (show, suspend, resume, set_plan, delete, purge_tenant, certificate)


def _changed(tenant: str, change: Callable[[UUID], Awaitable[TenantRead]]) -> TenantRead:
    async def work(database: Database, _: Settings) -> TenantRead:
        id = (await find_tenant(database, tenant)).id
        async with platform_transaction(database):
            return await change(id)

    return with_database(work)


async def _purged(database: Database, row: TenantRead, report: Report) -> Certificate:
    """Purge it, with patience for what ends soon."""
    now = datetime.now(UTC)
    deadline = now + timedelta(seconds=_PATIENCE_SECONDS)
    if row.purge_at is not None and now < row.purge_at < deadline:
        await asyncio.sleep((row.purge_at - now).total_seconds())
    while True:
        try:
            return await purge(database, row.id, actor=ACTOR, report=report)
        except (PurgeRunning, Unavailable):
            if datetime.now(UTC) > deadline:
                raise
            await asyncio.sleep(_PAUSE_SECONDS)


@contextmanager
def _progress() -> Iterator[Report]:
    """Shows the tables and how many of their rows are gone, where somebody looks."""
    gone: dict[str, int] = {}
    if not err.is_terminal:
        yield lambda *_: None
        return
    with err.status("Counting the rows …") as status:

        def report(table: str, rows: int) -> None:
            gone[table] = gone.get(table, 0) + rows
            status.update(f"{table}: {gone[table]:,} rows are gone")

        yield report


def _print_tenant(row: TenantRead, as_json: bool) -> None:
    if as_json:
        print_json(row)
        return
    table = Table(show_header=False)
    for name, value in msgspec.to_builtins(row).items():
        table.add_row(name, escape("" if value is None else str(value)))
    out.print(table)


def _print_certificate(issued: Certificate, as_json: bool) -> None:
    is_genuine = digest_of(issued.document) == issued.digest
    if as_json:
        print_json(issued)
    else:
        table = Table("table", "deleted", "left")
        for name, rows in issued.document.tables.items():
            table.add_row(name, str(rows.deleted), str(rows.left))
        out.print(table)
        document = issued.document
        out.print(
            f"{document.slug} ({document.tenant_id}) was deleted on "
            f"{document.finished_at:%Y-%m-%d %H:%M:%S} UTC at the wish of "
            f"{escape(document.requested_by)}.\nSHA-256 {issued.digest}"
        )
    if not is_genuine:
        raise click.ClickException("the digest is not that of the document")
