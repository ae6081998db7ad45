"""The commands that write code into the checkout."""

from importlib import import_module
from pathlib import Path

import rich_click as click
from rich.console import Console

import saas
from saas.dev.scaffold import wished, write_resource

out = Console(soft_wrap=True, highlight=False)


@click.group()
def new() -> None:
    """Write the files of something new."""


@new.command("resource")
@click.argument("name")
@click.argument("fields", nargs=-1, required=True)
@click.option("--model", help="The class.  [default: the singular of the name]")
@click.option("--natural-key", default="", help="Fields, unique together among live rows.")
@click.option("--search", help="Text fields behind q.  [default: the str fields]")
def resource(
    name: str, fields: tuple[str, ...], model: str | None, natural_key: str, search: str | None
) -> None:
    """Write a resource and register it: saas new resource invoices project:projects number:str
    'due_on:date?'

    A field is name:type with one of str, text, int, bool, date, datetime, uuid, json, or
    name:resource for a reference; a question mark behind it allows null.
    """
    # What is there already is known once all models are imported.
    import_module("saas.schema")
    wish = wished(name, fields, model=model, natural_key=natural_key, search=search)
    write_resource(Path(str(saas.__file__)).parent, wish)
    out.print(
        f"saas/features/{name}.py is written and registered in saas/app.py. Next:\n"
        f'  .venv/bin/alembic revision --autogenerate -m "{name}"\n'
        "  .venv/bin/saas migrate\n"
        "  make test",
        markup=False,
    )
