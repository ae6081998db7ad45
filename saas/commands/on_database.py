"""The database for one command: running, and open."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar
from uuid import UUID

import msgspec
import rich_click as click
from rich.console import Console
from rich.table import Column, Table

from saas.commands.refusals import naming
from saas.db.database import Database
from saas.db.doctor import revision_fault
from saas.db.transaction import platform_transaction
from saas.dev.running import running_database
from saas.errors import ConfigurationError, NotFound
from saas.settings import Settings, load_settings
from saas.tenancy.directory import TenantRead, tenant_by_id, tenant_by_slug


class HasId(Protocol):
    @property
    def id(self) -> UUID: ...


Result = TypeVar("Result")
Row = TypeVar("Row", bound=HasId)

# PostgreSQL's class of what a statement names and the database has not.
_NOT_THERE = "42"
# A login without its role, a database that is not there.
_NO_INSTALLATION = frozenset({"28000", "3D000"})

out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)


def with_database(
    work: Callable[[Database, Settings], Awaitable[Result]], *, prepare: bool = False, size: int = 2
) -> Result:
    """What `work` gives, on the database of the settings, with `size` connections at most;
    `prepare` makes or mends its schema before."""

    async def main(settings: Settings) -> Result:
        urls = str(settings.database_url), str(settings.platform_database_url)
        async with Database(*urls, size=size) as database:
            return await work(database, settings)

    given = load_settings()
    with running_database(given, err, prepare=prepare) as settings:
        try:
            return asyncio.run(main(settings))
        except Exception as error:
            if (fault := _missing_schema(error, given, settings)) is not None:
                raise ConfigurationError(fault) from error
            raise


def print_json(value: Any) -> None:
    """One JSON object on one line."""
    click.echo(msgspec.json.encode(value).decode())


def show_rows(
    rows: Iterable[Row],
    columns: Sequence[str],
    cells: Callable[[Row], Iterable[str]],
    *,
    as_json: bool,
) -> None:
    """A table of ids and `cells`, or for scripts one JSON object a line."""
    if as_json:
        for row in rows:
            print_json(row)
        return
    table = Table(Column("id", no_wrap=True), *columns)
    for row in rows:
        table.add_row(str(row.id), *cells(row))
    out.print(table)


def minute(at: datetime | None) -> str:
    """A time in a table's cell."""
    return f"{at:%Y-%m-%d %H:%M}" if at else ""


def show_ended(id: UUID, as_json: bool) -> None:
    """What is over needs no words, but a script reads an object from each command."""
    if as_json:
        print_json({"id": id})


def _missing_schema(error: Exception, given: Settings, resolved: Settings) -> str | None:
    """What the operator has to do first, where the command failed for want of it."""
    state = _sqlstate(error)
    if state.startswith(_NOT_THERE):
        return revision_fault(str(resolved.database_url))
    if state in _NO_INSTALLATION and given.is_embedded:
        return f"There is no installation in {given.data_path} yet: run `saas migrate`."
    return None


def _sqlstate(error: BaseException) -> str:
    """Of the database's refusal, also where ours is raised from it."""
    refusals = (error, error.__cause__)
    states = (getattr(refusal, "sqlstate", None) for refusal in refusals)
    return next((state for state in states if isinstance(state, str)), "")


async def find_tenant(database: Database, name: str) -> TenantRead:
    """The tenant of this slug or id; a slug may look like an id. Raises NotFound that names it."""
    async with platform_transaction(database):
        with naming(f"tenant {name}"):
            return await _tenant(name)


async def _tenant(name: str) -> TenantRead:
    try:
        return await tenant_by_slug(name)
    except NotFound:
        if not _is_id(name):
            raise
        return await tenant_by_id(UUID(name))


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
