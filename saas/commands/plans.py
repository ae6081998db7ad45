"""The commands about plans: the same code as the API's, in the operator's terminal."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import rich_click as click
from rich.markup import escape
from rich.table import Column, Table

from saas.commands.on_database import out, print_json, with_database
from saas.commands.refusals import checked, naming
from saas.db.database import Database
from saas.db.transaction import platform_transaction
from saas.limits import Limits
from saas.settings import Settings
from saas.tenancy.plans import NewPlan, PlanChange, PlanRead, change_plan, create_plan, plans

# Those of the meters are no single number; the API takes them.
_LIMITS = tuple(name for name in Limits.__struct_fields__ if name != "meters")
_NONE = "none"
_OPTIONS = {name: f"--{name.replace('_', '-')}" for name in _LIMITS}
_NAMES = {"/slug": "slug", "/name": "--name"} | {f"/limits/{n}": _OPTIONS[n] for n in _LIMITS}


class _LimitType(click.ParamType[Any]):
    """A number, or `none` for no limit. What range a number may have is said by the limits."""

    name = "integer|none"

    def convert(self, value: Any, _: Any, __: Any) -> Any:
        if value == _NONE:
            return value
        try:
            return int(value)
        except ValueError:
            self.fail(f"{value} is neither a number nor {_NONE}")


def _limit_options(command: Callable[..., None]) -> Callable[..., None]:
    for name in reversed(_LIMITS):
        option = click.option(_OPTIONS[name], name, type=_LimitType())
        command = option(command)
    return command


@click.group()
def plan() -> None:
    """List, make and change plans."""


@plan.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for scripts.")
def list_plans(as_json: bool) -> None:
    """Print all plans and their limits."""
    _show(_carry_out(plans), as_json=as_json)


@plan.command("create")
@click.argument("slug")
@click.option("--name", help="The display name.  [default: the slug]")
@_limit_options
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def create(slug: str, name: str | None, as_json: bool, **limits: Any) -> None:
    """Make a plan; a limit that is not given is none."""
    wish = checked({"slug": slug, "name": name or slug, "limits": _given(limits)}, NewPlan, _NAMES)
    _show([_carry_out(lambda: create_plan(wish))], as_json=as_json)


@plan.command("set")
@click.argument("slug")
@click.option("--name", help="Another display name.")
@_limit_options
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def change(slug: str, name: str | None, as_json: bool, **limits: Any) -> None:
    """Change a plan; its tenants feel it within five seconds. What is not given stays as it is."""
    wish = {"limits": _given(limits)} | ({"name": name} if name else {})
    changes = checked(wish, PlanChange, _NAMES)
    with naming(f"plan {slug}"):
        changed = _carry_out(lambda: change_plan(slug, changes))
    _show([changed], as_json=as_json)


def _given(limits: dict[str, Any]) -> dict[str, int | None]:
    return {
        name: None if value == _NONE else value
        for name, value in limits.items()
        if value is not None
    }


def _carry_out(question: Callable[[], Awaitable[Any]]) -> Any:
    async def work(database: Database, _: Settings) -> Any:
        async with platform_transaction(database):
            return await question()

    return with_database(work)


def _show(found: Sequence[PlanRead], *, as_json: bool) -> None:
    if as_json:
        for one in found:
            print_json(one)
        return
    table = Table(Column("slug", no_wrap=True), "name", "limits")
    for one in found:
        table.add_row(one.slug, escape(one.name), _limits_in_words(one.limits))
    out.print(table)


def _limits_in_words(limits: Limits) -> str:
    given = {name: getattr(limits, name) for name in _LIMITS}
    words = (f"{name} {most:,}" for name, most in given.items() if most is not None)
    return ", ".join(words) or _NONE
