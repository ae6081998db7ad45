"""`saas dev`: the whole installation on one machine."""

import sys

import rich_click as click
from rich.console import Console

from saas.dev.child import child_process
from saas.settings import load_settings

out = Console(soft_wrap=True, highlight=False)


@click.command()
def dev() -> None:
    """Start everything: embedded PostgreSQL, migrations, two demo tenants, the server."""
    settings = load_settings()
    with child_process(settings) as child:
        # Not at the top: the child shall load its modules at the same time.
        from saas.dev.run import run  # noqa: PLC0415

        code = run(settings, out, child)
    sys.exit(code)
