"""`saas serve`: the server alone, as a deployment starts it."""

import os
import pickle
from contextlib import suppress
from importlib import import_module

import rich_click as click

from saas.installation import resolved
from saas.server import serve as run_server
from saas.settings import Settings, load_settings


@click.command()
@click.option("--child", is_flag=True, hidden=True)
@click.option("--preload", is_flag=True, hidden=True)
def serve(child: bool, preload: bool) -> None:
    """Serve the API; the database must run and be migrated."""
    if preload:
        # What fails will fail again, and be told, when it is needed.
        with suppress(Exception):
            import_module("saas.app")
    if not child:
        run_server(resolved(load_settings()))
    elif (settings := _from_parent()) is not None:
        run_server(resolved(settings), stop_with_parent=True)


def _from_parent() -> Settings | None:
    """The settings that `saas dev` sends once the database is ready; None where it has ended."""
    with os.fdopen(os.dup(0), "rb", buffering=0) as pipe, suppress(EOFError):
        settings: Settings = pickle.load(pipe)  # noqa: S301 - our own parent wrote it
        return settings
    return None
