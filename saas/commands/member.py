"""The commands about a tenant's members."""

from uuid import UUID

import rich_click as click

from saas.auth.permissions import Role
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
from saas.db.where import where
from saas.errors import NotFound
from saas.identity import invitation_tokens
from saas.settings import Settings
from saas.tenancy.fields import Email, canonical_email
from saas.tenancy.invitations import InvitationRead, Invitations, Invited
from saas.tenancy.invitations import repository as offers
from saas.tenancy.members import MemberRead, Members, repository

_role = click.Choice([role.value for role in Role])


@click.group()
def member() -> None:
    """A tenant's members, and who is invited to be one. A MEMBER is an id or an address."""


@member.command("list")
@of_tenant
@as_json
def list_members(slug: str, as_json: bool) -> None:
    """Print a tenant's members, the newest first; with --json one a line."""

    async def work(_: Settings) -> list[MemberRead]:
        return [row async for row in repository.stream(where(sort="-created_at"), batch=MAX_LIMIT)]

    members = in_tenant(slug, work)
    columns = ("email", "name", "role", "status")
    show_rows(
        members,
        columns,
        lambda row: (cell(row.email), cell(row.name), row.role, row.status),
        as_json=as_json,
    )


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
@as_json
def remove_member(member: str, slug: str, as_json: bool) -> None:
    """Remove a member, never the last owner. Credentials end within 5 s."""

    async def work(_: Settings) -> UUID:
        found = await _found(member)
        await Members(catalogue()).remove(found.id)
        return found.id

    show_ended(in_tenant(slug, work), as_json)


@member.command("invitations")
@of_tenant
@as_json
def list_invitations(slug: str, as_json: bool) -> None:
    """Print a tenant's invitations, the newest first; with --json one a line."""

    async def work(_: Settings) -> list[InvitationRead]:
        newest = where(sort="-created_at")
        return [row async for row in offers.stream(newest, batch=MAX_LIMIT)]

    invitations = in_tenant(slug, work)
    columns = ("email", "role", "expires", "accepted")
    show_rows(
        invitations,
        columns,
        lambda row: (cell(row.email), row.role, minute(row.expires_at), minute(row.accepted_at)),
        as_json=as_json,
    )


@member.command("uninvite")
@click.argument("invitation")
@of_tenant
@as_json
def revoke_invitation(invitation: str, slug: str, as_json: bool) -> None:
    """Withdraw an invitation, by its id; its token is good for nothing any more."""

    async def work(settings: Settings) -> UUID:
        id = row_id(invitation)
        with naming(f"invitation {id}"):
            await Invitations(catalogue(), invitation_tokens(settings)).revoke(id)
        return id

    show_ended(in_tenant(slug, work), as_json)


async def _found(member: str) -> MemberRead:
    """The live member of this id or address. Raises NotFound, which names it."""
    with naming(f"member {member}"):
        if "@" not in member:
            return await repository.get(row_id(member))
        page = await repository.list(where(email=canonical_email(member)))
        if not page.items:
            raise NotFound
        return page.items[0]
