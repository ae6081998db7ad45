"""`saas tenant export` and `import`: the same code as the API's, with the file at hand."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import msgspec
import rich_click as click
from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.table import Table
from rich.text import Text

from saas.commands.lifecycle import ACTOR, as_json_option
from saas.commands.on_database import err, find_tenant, out, print_json, with_database
from saas.commands.refusals import checked
from saas.db.database import Database
from saas.db.transaction import platform_transaction
from saas.errors import ConfigurationError
from saas.portability.export import export_tenant
from saas.portability.importing import import_tenant
from saas.portability.manifest import Manifest
from saas.portability.opened import OpenArchive
from saas.portability.outcome import Imported, Wish
from saas.portability.outcome import Progress as Report
from saas.settings import Settings
from saas.tenancy.onboarding import PlanSlug, Slug


@click.command("export")
@click.argument("tenant")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="[default: SLUG.zip]",
)
@click.option("--json", "as_json", is_flag=True, help="The manifest, for scripts.")
def export_archive(tenant: str, output: Path | None, as_json: bool) -> None:
    """Write a tenant, by slug or id, as one archive. The file is there when it is whole."""
    # Only the models that are imported are known to the archive.
    import_module("saas.schema")

    async def work(database: Database, _: Settings) -> tuple[Path, Manifest]:
        row = await find_tenant(database, tenant)
        path = output or Path(f"{row.slug}.zip")
        with _whole_file(path) as file, _progress() as report:

            async def write(piece: bytes) -> None:
                file.write(piece)

            manifest = await export_tenant(
                database, row.id, actor=ACTOR, write=write, progress=report
            )
        return path, manifest

    path, manifest = with_database(work)
    if as_json:
        print_json(manifest)
        return
    table = Table("table", "rows", "SHA-256")
    for entry in manifest.tables:
        table.add_row(entry.name, str(entry.rows), entry.sha256)
    out.print(table)
    out.print(f"{path}: {path.stat().st_size:,} bytes, digest {manifest.digest}", markup=False)


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--slug", help="The new tenant's.  [default: the archive's]")
@click.option("--plan", help="The new tenant's.  [default: the archive's]")
@click.option(
    "--ids",
    type=click.Choice(["keep", "new"]),
    default="keep",
    show_default=True,
    help="API keys go on working with the same ids alone.",
)
@click.option(
    "--on-conflict",
    type=click.Choice(["error", "skip", "update"]),
    default="error",
    show_default=True,
    help="What becomes of a tenant that is here already.",
)
@click.option("--dry-run", is_flag=True, help="Do all of it and undo it.")
@as_json_option
def import_archive(file: Path, as_json: bool, **given: Any) -> None:
    """Make a tenant from an archive, all or nothing."""
    import_module("saas.schema")
    wish = _wish_of(given)

    async def work(database: Database, _: Settings) -> Imported:
        with file.open("rb") as opened, _progress() as report:
            archive = OpenArchive(opened)
            async with platform_transaction(database):
                return await import_tenant(database, archive, wish, actor=ACTOR, progress=report)

    done = with_database(work)
    if as_json:
        print_json(done)
        return
    table = Table("table", "rows", "inserted", "updated", "skipped")
    for name, outcome in done.tables.items():
        table.add_row(name, *map(str, msgspec.structs.astuple(outcome)))
    out.print(table)
    verb = "would be" if done.dry_run else "is"
    out.print(f"Tenant {done.tenant.slug} {verb} {done.tenant.id}: verified.", markup=False)


ARCHIVES = (export_archive, import_archive)


def _wish_of(given: dict[str, Any]) -> Wish:
    for name, kind in (("slug", Slug), ("plan", PlanSlug)):
        if given[name] is not None:
            checked(given[name], kind, f"--{name}")
    return Wish(**given)


@contextmanager
def _whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file for its owner alone, which takes the place of `path` at the end of the block; where
    that fails there is nothing new. Raises ConfigurationError for what cannot be written."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.touch(mode=0o600, exist_ok=False)
        try:
            with fresh.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)
    except OSError as fault:
        raise ConfigurationError(f"cannot write {path}: {fault.strerror}") from None


@contextmanager
def _progress() -> Iterator[Report]:
    """Rows and rows a second of the table that is at work, on the terminal of whoever waits."""
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        _Rate(),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    ) as progress:
        tasks: dict[str, Any] = {}

        def report(step: str, rows: int) -> None:
            if step not in tasks:
                tasks[step] = progress.add_task(step, total=None)
            progress.advance(tasks[step], rows)

        yield report


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        rate = f" {task.speed:,.0f} rows/s" if task.speed else ""
        return Text(f"{task.completed:,.0f} rows{rate}")
