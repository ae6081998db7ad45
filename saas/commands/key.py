"""The commands about a tenant's API keys."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
import rich_click as click

from saas.commands.in_tenant import (
    as_json,
    catalogue,
    cell,
    in_tenant,
    of_tenant,
    row_id,
)
from saas.commands.on_database import minute, out, print_json, show_ended, show_rows
from saas.commands.refusals import checked, naming
from saas.db.query import MAX_LIMIT
from saas.errors import ConfigurationError
from saas.settings import Settings
from saas.tenancy.api_keys import MOST_OVERLAP_SECONDS, ApiKeys, KeyWish, NewApiKey
from saas.tenancy.fields import Name
from saas.tenancy.stored_keys import ApiKeyRead, api_keys, grammar

_Time = Annotated[datetime, msgspec.Meta(tz=True)]


@click.group()
def key() -> None:
    """Make, list, rotate and revoke a tenant's API keys."""


@key.command("create")
@click.argument("name")
@of_tenant
@click.option("--permission", "permissions", multiple=True, help="Repeatable.  [default: all]")
@click.option("--expires-at", help="An RFC 3339 time with its offset.  [default: never]")
@as_json
def create_key(
    name: str, slug: str, permissions: tuple[str, ...], expires_at: str | None, as_json: bool
) -> None:
    """Make a key that follows no member, and show it this once."""
    wish = KeyWish(
        checked(name, Name, "name"),
        _known(permissions) or None,
        None if expires_at is None else checked(expires_at, _Time, "--expires-at"),
    )

    async def work(_: Settings) -> NewApiKey:
        return await ApiKeys(catalogue()).create(wish)

    _show_new(in_tenant(slug, work), as_json)


@key.command("rotate")
@click.argument("id")
@of_tenant
@click.option(
    "--overlap",
    type=click.IntRange(0, MOST_OVERLAP_SECONDS),
    default=0,
    show_default=True,
    help="For how many seconds the secret before is good as well.",
)
@as_json
def rotate_key(id: str, slug: str, overlap: int, as_json: bool) -> None:
    """Give a key another secret, and show it this once."""

    async def work(_: Settings) -> NewApiKey:
        with naming(f"API key {id}"):
            return await ApiKeys(catalogue()).rotate(row_id(id), overlap_seconds=overlap)

    _show_new(in_tenant(slug, work), as_json)


@key.command("revoke")
@click.argument("id")
@of_tenant
@as_json
def revoke_key(id: str, slug: str, as_json: bool) -> None:
    """End a key: within 5 s it is refused everywhere."""

    async def work(_: Settings) -> UUID:
        with naming(f"API key {id}"):
            await ApiKeys(catalogue()).revoke(row_id(id))
        return row_id(id)

    show_ended(in_tenant(slug, work), as_json)


@key.command("list")
@of_tenant
@as_json
def list_keys(slug: str, as_json: bool) -> None:
    """Print a tenant's keys, the newest first; with --json one a line."""

    async def work(_: Settings) -> list[ApiKeyRead]:
        query = grammar.parse([("limit", str(MAX_LIMIT))])
        found: list[ApiKeyRead] = []
        while True:
            page = await api_keys(query)
            found += page.items
            if page.next_after is None:
                return found
            query = msgspec.structs.replace(query, after=page.next_after)

    keys = in_tenant(slug, work)
    columns = ("name", "permissions", "expires", "last used")
    show_rows(keys, columns, _cells, as_json=as_json)


def _known(permissions: tuple[str, ...]) -> tuple[str, ...]:
    """Raises ConfigurationError naming all that there are."""
    known = catalogue().all
    for permission in permissions:
        if permission not in known:
            raise ConfigurationError(
                f"there is no permission {permission!r}: give {', '.join(sorted(known))}"
            )
    return permissions


def _cells(row: ApiKeyRead) -> tuple[str, ...]:
    permissions = row.role if row.permissions is None else " ".join(row.permissions)
    return cell(row.name), permissions, minute(row.expires_at), minute(row.last_used_at)


def _show_new(made: NewApiKey, as_json: bool) -> None:
    if as_json:
        print_json(made)
    else:
        out.print(f"Key {made.id}, shown this once:")
        click.echo(made.key)
