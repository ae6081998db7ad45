"""`saas serve`: the server alone, as a deployment starts it."""

import os
from importlib import import_module

import msgspec
import rich_click as click

from saas.installation import resolved
from saas.server import serve as run_server
from saas.settings import Settings, load_settings


@click.command()
@click.option("--child", is_flag=True, hidden=True)
def serve(child: bool) -> None:
    """Serve the API; the database must run and be migrated."""
    if not child:
        run_server(resolved(load_settings()))
    elif (settings := _from_parent()) is not None:
        run_server(resolved(settings), stop_with_parent=True)


def _from_parent() -> Settings | None:
    """The settings that `saas dev` sends once the database is ready; None where it has ended."""
    # Until then, what takes longest. Several workers need a variable first (`server.serve`).
    if load_settings().workers == 1:
        import_module("saas.app")
    with os.fdopen(os.dup(0), "rb", buffering=0) as pipe:
        line = pipe.readline()
    return msgspec.json.decode(line, type=Settings) if line else None
