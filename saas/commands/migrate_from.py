"""`saas migrate-from`: tables of a legacy database into a tenant's resources."""

import hashlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import rich_click as click
from sqlalchemy.engine import make_url

from saas import context
from saas.commands.inside import in_tenant, resources
from saas.commands.on_database import err, out, print_json
from saas.commands.progress import RowProgress
from saas.db.database import Database
from saas.legacy.bad_rows import BadRows
from saas.legacy.checkpoint import TableState, opened_checkpoint
from saas.legacy.map import Map, read_map
from saas.legacy.migration import Migration, TableOutcome, migrate
from saas.legacy.plan import TablePlan, planned
from saas.legacy.source import open_source
from saas.tenancy.standing import require_active_tenant

_file = click.Path(dir_okay=False, path_type=Path)


class Wish(NamedTuple):
    """What was asked for."""

    url: str
    tenant: str
    map: Path
    checkpoint: Path | None
    errors: Path | None
    batch_rows: int
    restart: bool
    dry_run: bool
    as_json: bool

    @property
    def checkpoint_file(self) -> Path:
        return self.checkpoint or self.map.with_suffix(f".{self.tenant}.json")

    @property
    def errors_file(self) -> Path:
        kind = "dry-run.errors" if self.dry_run else "errors"
        return self.errors or self.map.with_suffix(f".{self.tenant}.{kind}.csv")


@click.command()
@click.argument("url", envvar="SAAS_SOURCE_URL")
@click.option("--tenant", required=True, help="The tenant's slug or id.")
@click.option("--map", type=_file, required=True, help="What goes where: docs/migrating-from.md.")
@click.option("--checkpoint", type=_file, help="[default: <map>.<tenant>.json]")
@click.option("--errors", type=_file, help="[default: <map>.<tenant>.errors.csv]")
@click.option("--batch-rows", type=click.IntRange(1, 50_000), default=5_000, show_default=True)
@click.option("--restart", is_flag=True, help="Forget the checkpoint, and begin again.")
@click.option("--dry-run", is_flag=True, help="Do all of it in one transaction, and undo it.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def migrate_from(**given: Any) -> None:
    """Copy tables of the database at URL, an address for SQLAlchemy, into a tenant. What was cut
    off goes on where it was. Exit code 0: every row is in; 1: not every row; 2: refused.
    """
    wish = Wish(**given)
    map = read_map(wish.map)
    engine = open_source(wish.url)
    try:
        plans = planned(map, engine, resources())
        outcomes = in_tenant(wish.tenant, lambda database: _migrate(wish, map, plans, database))
    finally:
        engine.dispose()
    _tell(wish, outcomes)
    sys.exit(0 if all(outcome.is_whole for outcome in outcomes) else 1)


async def _migrate(
    wish: Wish, map: Map, plans: list[TablePlan], database: Database
) -> list[TableOutcome]:
    with ExitStack() as stack:
        bad_rows = stack.enter_context(closing(BadRows(wish.errors_file)))
        checkpoint = None
        if not wish.dry_run:
            checkpoint = stack.enter_context(
                opened_checkpoint(wish.checkpoint_file, _digest(wish, map), restart=wish.restart)
            )
        begun = checkpoint.position.tables if checkpoint else ()
        tell = stack.enter_context(_progress(plans, begun))
        return await migrate(
            Migration(
                database,
                plans,
                bad_rows,
                checkpoint,
                check=require_active_tenant,
                tell=tell,
                batch_rows=wish.batch_rows,
            )
        )


def _digest(wish: Wish, map: Map) -> str:
    """Of what a checkpoint belongs to; a password may change meanwhile."""
    source = make_url(wish.url).set(password=None).render_as_string()
    of = [source, msgspec.to_builtins(map), str(context.principal().tenant_id)]
    return hashlib.sha256(msgspec.json.encode(of, order="sorted")).hexdigest()


@contextmanager
def _progress(
    plans: list[TablePlan], begun: Sequence[TableState]
) -> Iterator[Callable[[TableState], None]]:
    states = {(state.source, state.resource): state for state in begun}
    total = sum(plan.source.count() for plan in plans) if err.is_terminal else None
    read = sum(state.read for state in begun)
    with RowProgress(err, "migrating", total, begun=read) as progress:

        def tell(state: TableState) -> None:
            states[state.source, state.resource] = state
            rows = sum(one.read for one in states.values())
            progress.show(rows, errors=sum(one.failed for one in states.values()))

        yield tell


def _tell(wish: Wish, outcomes: list[TableOutcome]) -> None:
    if wish.as_json:
        tables = [_counts(outcome) for outcome in outcomes]
        shown = {"dry_run": wish.dry_run, "errors": str(wish.errors_file), "tables": tables}
        print_json(shown)
        return
    for outcome in outcomes:
        state = outcome.state
        out.print(
            f"{state.source} to {state.resource}: {outcome.in_source:,} in the source, "
            f"{state.read:,} read: {state.inserted:,} inserted, {state.updated:,} updated, "
            f"{state.skipped:,} skipped, {state.failed:,} failed. "
            f"The tenant has {outcome.in_tenant:,}, {state.before:,} before.",
            markup=False,
        )
    if any(outcome.state.failed for outcome in outcomes):
        out.print(f"The bad rows are in {wish.errors_file}.", markup=False)
    whole = all(outcome.is_whole for outcome in outcomes)
    said = "Every row of the source is in." if whole else "Not every row of the source is in."
    out.print(f"Dry run, all of it undone. {said}" if wish.dry_run else said)


def _counts(outcome: TableOutcome) -> dict[str, Any]:
    counts = msgspec.structs.asdict(outcome.state)
    del counts["after"]
    return {
        **counts,
        "in_source": outcome.in_source,
        "in_tenant": outcome.in_tenant,
        "is_whole": outcome.is_whole,
    }
