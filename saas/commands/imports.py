"""`saas import`: a file into a resource of one tenant, by the engine of `POST /v1/R/import`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import rich_click as click

from saas.commands.exports import written
from saas.commands.import_file import LocalFile, bad_rows, followed, go_on, send
from saas.commands.inside import in_tenant, resource_named
from saas.commands.on_database import err, out, print_json
from saas.commands.progress import RowProgress
from saas.db.bulk_target import bulk_target
from saas.db.database import Database
from saas.db.imports.head import SourceWish, checked_delimiter
from saas.db.imports.service import ImportService, ImportWish
from saas.db.imports.tables import ImportRead
from saas.errors import ConfigurationError, Unavailable
from saas.tenancy.standing import require_active_tenant

_JSON_LINES = {".jsonl", ".ndjson"}
# The operator's own file: the limits of uploads are for those who come over the network.
_NO_LIMIT = sys.maxsize


class Wish(NamedTuple):
    """What was asked for."""

    resource: str
    file: Path
    tenant: str
    format: str | None
    on_conflict: Any
    mode: Any
    mapping: tuple[str, ...]
    charset: str | None
    delimiter: str | None
    errors: Path | None
    dry_run: bool
    resume: bool
    as_json: bool

    @property
    def is_stdin(self) -> bool:
        return str(self.file) == "-"

    @property
    def errors_file(self) -> Path:
        name = Path("import") if self.is_stdin else self.file
        return self.errors or name.with_suffix(".errors.csv")

    def for_engine(self) -> ImportWish:
        format: Any = self.format or ("jsonl" if self.file.suffix in _JSON_LINES else "csv")
        source = SourceWish(
            format=format,
            charset=self.charset,
            delimiter=None if self.delimiter is None else checked_delimiter(self.delimiter),
            columns=dict(_mapped(text) for text in self.mapping),
        )
        return ImportWish(
            resource=self.resource,
            source=source,
            on_conflict=self.on_conflict,
            mode=self.mode,
            dry_run=self.dry_run,
        )


@click.command("import")
@click.argument("resource")
@click.argument(
    "file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
)
@click.option("--tenant", required=True, help="The tenant's slug or id.")
@click.option("--format", type=click.Choice(["csv", "jsonl"]), help="[default: by the file's name]")
@click.option(
    "--on-conflict",
    type=click.Choice(["error", "skip", "update"]),
    default="error",
    show_default=True,
    help="For a row whose natural key is there.",
)
@click.option(
    "--mode",
    type=click.Choice(["partial", "atomic"]),
    default="partial",
    show_default=True,
    help="Keep the good rows, or all or none.",
)
@click.option(
    "--mapping",
    multiple=True,
    metavar="NAME=COLUMN",
    help="A column of the file that has another name here; NAME= leaves it out. Repeatable.",
)
@click.option("--charset", help="[default: seen from the file, else utf-8]")
@click.option("--delimiter", help="[default: seen from the file]")
@click.option(
    "--errors",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where refused rows go.  [default: <file>.errors.csv]",
)
@click.option("--dry-run", is_flag=True, help="Do all of it, and undo it.")
@click.option("--resume", is_flag=True, help="Go on with an import of this file that broke off.")
@click.option("--json", "as_json", is_flag=True, help="Print the import's record, for scripts.")
def import_(**given: Any) -> None:
    """Import FILE, CSV or JSON lines, into RESOURCE; - is standard input. Exit code 0: every row is
    in; 1: some are refused; 2: refused, or broken off.
    """
    wish = Wish(**given)
    if wish.resume and wish.is_stdin:
        raise ConfigurationError("--resume needs a file")
    resource = resource_named(wish.resource)
    done = in_tenant(wish.tenant, lambda database: _import(wish, resource, database))
    if wish.as_json:
        print_json(done)
    else:
        _tell(wish, done)
    sys.exit(1 if done.failed else 0)


async def _import(wish: Wish, resource: Any, database: Database) -> ImportRead:
    target = bulk_target(resource)
    service = ImportService(
        database, {wish.resource: target}, max_bytes=_NO_LIMIT, check=require_active_tenant
    )
    async with service.workers.serving():
        with (
            RowProgress(err, f"into {wish.resource}", None) as progress,
            _opened(wish, progress) as file,
        ):
            if wish.resume:
                begun = await go_on(service, wish.resource, file)
            else:
                begun = await send(service, wish.for_engine(), file)
            done = await followed(
                database,
                begun.id,
                lambda read, record: progress.show(
                    read.rows_read, errors=read.failed, done=record.next_chunk, total=record.chunks
                ),
            )
    if done.status == "interrupted":
        raise Unavailable(f"{done.detail or 'It stands still.'} Go on with --resume.")
    if not begun.is_new:
        err.print("This file was imported before; this is what came of it.")
    if done.failed:
        with written(wish.errors_file) as write:
            await bad_rows(database, done.id, target, write)
    return done


@contextmanager
def _opened(wish: Wish, progress: RowProgress) -> Iterator[LocalFile]:
    """The bar counts the bytes of the file until all of it is sent."""
    if wish.is_stdin:
        yield LocalFile(sys.stdin.buffer, None, lambda _: None)
        return
    size = wish.file.stat().st_size
    with wish.file.open("rb") as file:
        yield LocalFile(file, size, lambda sent: progress.show(0, done=sent, total=size))


def _tell(wish: Wish, done: ImportRead) -> None:
    out.print(
        f"{wish.file} into {done.resource}: {done.rows_read:,} rows read: "
        f"{done.inserted:,} inserted, {done.updated:,} updated, {done.skipped:,} skipped, "
        f"{done.failed:,} failed.",
        markup=False,
    )
    if done.detail:
        out.print(done.detail, markup=False)
    if done.failed:
        out.print(f"The refused rows are in {wish.errors_file}.", markup=False)
    if done.dry_run:
        out.print("Dry run: all of it is undone.")


def _mapped(text: str) -> tuple[str, str | None]:
    name, mark, column = text.partition("=")
    if not mark:
        raise ConfigurationError(f"--mapping {text}: give NAME=COLUMN")
    return name, column or None
