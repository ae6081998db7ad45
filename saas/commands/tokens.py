"""The commands about access tokens: to sign one, and to end all of a tenant or a member."""

from uuid import UUID

import rich_click as click

from saas.commands.on_database import find_tenant, print_json, with_database
from saas.commands.refusals import naming
from saas.context import Principal, acting_as
from saas.db.database import Database
from saas.db.transaction import transaction
from saas.errors import ConfigurationError
from saas.identity import token_issuer
from saas.settings import Settings
from saas.tenancy.directory import first_owner
from saas.tenancy.revocation import Revoked, revoke_member_tokens, revoke_tenant_tokens


@click.group(invoke_without_command=True)
@click.option("--tenant", "slug", help="The tenant's slug or id; without it a platform token.")
@click.option(
    "--subject",
    help="A member's id or key:<id>, or an operator's name.  [default: the first owner, or cli]",
)
@click.option("--ttl", "ttl_seconds", default=900, show_default=True, help="Lifetime in seconds.")
@click.pass_context
def token(context: click.Context, slug: str | None, subject: str | None, ttl_seconds: int) -> None:
    """Print a signed access token, or end those that are out."""
    if context.invoked_subcommand is not None:
        if slug or subject:
            raise click.UsageError("Options of a command stand behind it.")
        return

    async def work(database: Database, settings: Settings) -> str:
        tenant_id = (await find_tenant(database, slug)).id if slug else None
        if tenant_id and subject:
            _as_id(subject.removeprefix("key:"), "--subject: a member's id or key:<id>")
        default = "cli"
        if tenant_id and not subject:
            with naming(f"active owner of tenant {slug}: give --subject"):
                default = str(await _first_owner(database, tenant_id))
        audience = settings.jwt_audience if tenant_id else settings.platform_audience
        issuer = token_issuer(settings, audience, requires_tenant=tenant_id is not None)
        return issuer.issue(subject or default, tenant_id=tenant_id, ttl_seconds=ttl_seconds)

    click.echo(with_database(work))


@token.command()
@click.option("--tenant", "slug", required=True, help="The tenant's slug or id.")
@click.option("--member", help="A member's id.  [default: everybody, API keys' tokens too]")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def revoke(slug: str, member: str | None, as_json: bool) -> None:
    """End every access token of a tenant, or of one member, within 5 s; API keys live on."""
    member_id = _as_id(member, "--member: a member's id") if member else None

    async def work(database: Database, _: Settings) -> Revoked:
        tenant = await find_tenant(database, slug)
        who = Principal(tenant_id=tenant.id, actor="platform:cli")
        with acting_as(who):
            async with transaction(database):
                if member_id is None:
                    return await revoke_tenant_tokens()
                with naming(f"member {member}"):
                    return await revoke_member_tokens(member_id)

    valid_from = with_database(work).tokens_valid_from
    if as_json:
        print_json({"tokens_valid_from": valid_from})
    else:
        click.echo(f"Tokens issued before {valid_from:%Y-%m-%d %H:%M:%S} UTC are refused.")


def _as_id(text: str, what: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise ConfigurationError(what) from None


async def _first_owner(database: Database, tenant_id: UUID) -> UUID:
    with acting_as(Principal(tenant_id=tenant_id, actor="platform:cli")):
        async with transaction(database, read_only=True):
            return await first_owner()
