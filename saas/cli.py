"""The `saas` command: which commands there are. The module of one is imported when it is called, so
that none waits for the libraries of the others."""

import keyword
import sys
from importlib import import_module
from typing import Any

import rich_click as click
from rich.console import Console

from saas.errors import ConfigurationError, SaasError

# In the order of the help, with the module of each.
COMMANDS = {
    "dev": "saas.commands.dev",
    "serve": "saas.commands.serve",
    "migrate": "saas.commands.database",
    "doctor": "saas.commands.database",
    "url": "saas.commands.database",
    "bootstrap": "saas.commands.database",
    "secrets": "saas.commands.database",
    "tenant": "saas.commands.tenants",
    "plan": "saas.commands.plans",
    "member": "saas.commands.member",
    "key": "saas.commands.key",
    "token": "saas.commands.tokens",
    "export": "saas.commands.exports",
    "import": "saas.commands.imports",
    "migrate-from": "saas.commands.migrate_from",
    "new": "saas.commands.new",
    "lint": "saas.commands.lint",
}

err = Console(stderr=True, soft_wrap=True, highlight=False)


class Commands(click.RichGroup):
    """The commands of the table above."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        name = cmd_name.replace("-", "_")
        command: click.Command = getattr(
            import_module(module), f"{name}_" if keyword.iskeyword(name) else name
        )
        return command


@click.group(cls=Commands)
def cli() -> None:
    """A multi-tenant SaaS backend. Settings: environment variables SAAS_… or `.env`."""


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; a refusal is one line and exit code 2."""
    try:
        return cli(args=arguments)
    except (ConfigurationError, SaasError) as error:
        err.print(f"saas: {_line(error)}", markup=False)
        sys.exit(2)


def _line(error: ConfigurationError | SaasError) -> str:
    """What it says; where that is "see errors", the errors themselves."""
    if not isinstance(error, SaasError) or not error.errors:
        return str(error)
    faults = "; ".join(
        f"{fault.pointer}: {fault.message}" if fault.pointer else fault.message
        for fault in error.errors
    )
    if error.message == error.detail:
        return faults
    said, see_errors, _ = error.message.partition("See errors.")
    return f"{said}{faults}" if see_errors else said


if __name__ == "__main__":
    main()
