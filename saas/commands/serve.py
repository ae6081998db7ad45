"""`saas serve`: the server alone, as a deployment starts it."""

import rich_click as click

from saas.installation import resolved
from saas.server import serve as run_server
from saas.settings import load_settings


@click.command()
@click.option("--stop-with-parent", is_flag=True, hidden=True)
def serve(stop_with_parent: bool) -> None:
    """Serve the API; the database must run and be migrated."""
    run_server(resolved(load_settings()), stop_with_parent=stop_with_parent)
