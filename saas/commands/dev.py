"""`saas dev`: the whole installation on one machine."""

import sys

import rich_click as click
from rich.console import Console

from saas.dev.run import run
from saas.settings import load_settings

out = Console(soft_wrap=True, highlight=False)


@click.command()
def dev() -> None:
    """Start everything: embedded PostgreSQL, migrations, two demo tenants, the server."""
    sys.exit(run(load_settings(), out))
