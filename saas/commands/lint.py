"""`saas lint`, for `make check`."""

import os
import sys
from importlib import import_module
from pathlib import Path

import rich_click as click

import saas
from saas.errors import ConfigurationError


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
def lint(paths: tuple[Path, ...]) -> None:
    """Find statements over tenant tables that are bound to no tenant. Exit code 1 on a fault.

    PATHS are Python files or folders; without any, the package saas.
    """
    try:
        # The other commands need neither the models nor the parser.
        check = import_module("saas.dev.lint")
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"{error.name} is missing: pip install 'saas[dev]'") from None
    faults = check.faults_in(paths or [Path(os.path.relpath(Path(str(saas.__file__)).parent))])
    for fault in faults:
        click.echo(str(fault))
    sys.exit(1 if faults else 0)
