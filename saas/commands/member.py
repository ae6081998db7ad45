"""The commands about a tenant's members."""

import rich_click as click
from rich.table import Column, Table

from saas.auth.permissions import Role
from saas.commands.in_tenant import (
    as_json,
    catalogue,
    cell,
    checked,
    in_tenant,
    of_tenant,
    row_id,
)
from saas.commands.on_database import out, print_json
from saas.db.query import MAX_LIMIT
from saas.db.where import where
from saas.errors import NotFound
from saas.identity import invitation_tokens
from saas.settings import Settings
from saas.tenancy.fields import Email, canonical_email
from saas.tenancy.invitations import Invitations, Invited
from saas.tenancy.members import MemberRead, Members, repository

_role = click.Choice([role.value for role in Role])


@click.group()
def member() -> None:
    """List, invite, promote and remove a tenant's members. A MEMBER is an id or an address."""


@member.command("list")
@of_tenant
@as_json
def list_members(slug: str, as_json: bool) -> None:
    """Print a tenant's members, the newest first; with --json one a line."""

    async def work(_: Settings) -> list[MemberRead]:
        return [row async for row in repository.stream(where(sort="-created_at"), batch=MAX_LIMIT)]

    members = in_tenant(slug, work)
    if as_json:
        for row in members:
            print_json(row)
        return
    table = Table(Column("id", no_wrap=True), "email", "name", "role", "status")
    for row in members:
        table.add_row(str(row.id), cell(row.email), cell(row.name), row.role, row.status)
    out.print(table)


@member.command("invite")
@click.argument("email")
@of_tenant
@click.option("--role", type=_role, default=Role.MEMBER.value, show_default=True)
@as_json
def invite_member(email: str, slug: str, role: str, as_json: bool) -> None:
    """Invite somebody, and show the token of the invitation this once."""
    address: str = checked(email, Email, email)

    async def work(settings: Settings) -> Invited:
        return await Invitations(catalogue(), invitation_tokens(settings)).invite(address, role)

    made = in_tenant(slug, work)
    if as_json:
        print_json(made)
    else:
        out.print(f"Invitation {made.id} to {cell(made.email)}, its token shown this once:")
        click.echo(made.token)


@member.command("set-role")
@click.argument("member")
@click.argument("role", type=_role)
@of_tenant
@as_json
def set_role(member: str, role: str, slug: str, as_json: bool) -> None:
    """Give a member another role; never the last owner."""

    async def work(_: Settings) -> MemberRead:
        found = await _found(member)
        return await Members(catalogue()).change(found.id, {"role": role})

    changed = in_tenant(slug, work)
    if as_json:
        print_json(changed)
    else:
        out.print(f"{cell(changed.email)} is {changed.role}.")


@member.command("remove")
@click.argument("member")
@of_tenant
def remove_member(member: str, slug: str) -> None:
    """Remove a member, never the last owner. Credentials end within 5 s."""

    async def work(_: Settings) -> None:
        await Members(catalogue()).remove((await _found(member)).id)

    in_tenant(slug, work)


async def _found(member: str) -> MemberRead:
    """The live member of this id or address. Raises NotFound."""
    if "@" not in member:
        return await repository.get(row_id(member))
    page = await repository.list(where(email=canonical_email(member)))
    if not page.items:
        raise NotFound
    return page.items[0]
