"""`saas export`: a resource of one tenant as a file, as `GET /v1/R/export` gives it."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import rich_click as click

from saas.commands.inside import in_tenant, resource_named
from saas.commands.on_database import err, print_json
from saas.commands.progress import RowProgress
from saas.db.database import Database
from saas.db.export_formats import FORMATS
from saas.db.exports import export_pieces, export_query
from saas.db.query import ListQuery
from saas.db.repository import TenantRepository
from saas.db.transaction import Transaction
from saas.errors import ConfigurationError

Write = Callable[[bytes], Any]

_SUFFIXES = {".jsonl": "jsonl", ".ndjson": "jsonl"}


class Exported(msgspec.Struct):
    """What `--json` prints."""

    resource: str
    format: str
    file: str
    rows: int = 0
    bytes: int = 0


@click.command()
@click.argument("resource")
@click.option("--tenant", "slug", required=True, help="The tenant's slug or id.")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file, which is there once it is whole.  [default: standard output]",
)
@click.option(
    "--format",
    "format_name",
    type=click.Choice(list(FORMATS)),
    help="[default: by the name of the file, else csv]",
)
@click.option(
    "--filter",
    "filters",
    multiple=True,
    metavar="NAME=VALUE",
    help="As in the query of a list: name__contains=x, q=x, sort=-name. Repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was done, for scripts.")
def export(
    resource: str,
    slug: str,
    output: Path | None,
    format_name: str | None,
    filters: tuple[str, ...],
    as_json: bool,
) -> None:
    """Export the rows of RESOURCE, all of one moment, as CSV or JSON lines."""
    if as_json and output is None:
        raise ConfigurationError("--json needs --output: standard output is the file")
    repository = resource_named(resource).repository
    query = export_query(repository.grammar, [_pair(text) for text in filters])
    format_name = format_name or _SUFFIXES.get(output.suffix if output else "", "csv")
    done = Exported(resource, format_name, str(output or "-"))

    async def work(database: Database) -> None:
        with written(output) as write:
            await _export(database, repository, query, write, done)

    in_tenant(slug, work, writes=False)
    if as_json:
        print_json(done)
    elif output is not None:
        err.print(f"{resource}: {done.rows:,} exported to {output}", markup=False)


async def _export(
    database: Database,
    repository: TenantRepository[Any, Any],
    query: ListQuery,
    write: Write,
    done: Exported,
) -> None:
    async with Transaction(database.app, read_only=True, one_snapshot=True):
        total = await repository.count(query) if err.is_terminal else None
        with RowProgress(err, done.resource, total) as progress:
            async for piece in export_pieces(repository, query, FORMATS[done.format]):
                write(piece.content)
                done.rows += piece.rows
                done.bytes += len(piece.content)
                progress.show(done.rows)


@contextmanager
def written(output: Path | None) -> Iterator[Write]:
    """Writes to standard output, or to a file that takes the name of `output` at the end: a file of
    that name is never half of one."""
    if output is None:
        yield sys.stdout.buffer.write
        sys.stdout.buffer.flush()
        return
    # What is no file, such as a pipe or /dev/null, must not be replaced by one.
    is_file = output.is_file() or not output.exists()
    part = output.with_name(f".{output.name}.{os.getpid()}.part") if is_file else output
    try:
        with part.open("wb") as file:
            yield file.write
        part.replace(output)
    except OSError as error:
        raise ConfigurationError(f"cannot write {output}: {error.strerror}") from None
    finally:
        if is_file:
            part.unlink(missing_ok=True)


def _pair(text: str) -> tuple[str, str]:
    name, mark, value = text.partition("=")
    if not mark:
        raise ConfigurationError(f"--filter {text}: give NAME=VALUE")
    return name, value
