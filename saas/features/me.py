"""`GET /v1/me`: who the credential is, and where else the same person is a member."""

from uuid import UUID

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from saas import context
from saas.auth.permissions import EVERYONE
from saas.context import acting_as
from saas.db.database import Database
from saas.db.transaction import Transaction
from saas.errors import NotFound, Unauthenticated
from saas.tenancy.members import MemberRead
from saas.tenancy.members import repository as members
from saas.tenancy.memberships import PersonDirectory, PersonTenant
from saas.tenancy.own_tenant import own_tenant
from saas.tenancy.stored_keys import repository as keys
from saas.web.answer import json_answer
from saas.web.described import described
from saas.web.row_request import AnyRequest


class TenantName(msgspec.Struct, frozen=True):
    id: UUID
    slug: str
    name: str


class MyTenant(msgspec.Struct, frozen=True):
    """One that X-Tenant-ID may select."""

    tenant: TenantName
    role: str
    member_id: UUID


class Me(msgspec.Struct, frozen=True):
    """`role` is that of the member or key; the credential may carry fewer `permissions`. `member`
    and `tenants` are those of a person, not of a key or an operator."""

    actor: str
    tenant: TenantName
    role: str | None
    permissions: list[str]
    member: MemberRead | None
    tenants: list[MyTenant]


def me_handlers(database: Database) -> list[HTTPRouteHandler]:
    directory = PersonDirectory(database)

    @get(
        "/v1/me",
        **described(
            "me.get",
            "Who I am, and which tenants I may enter",
            permission=EVERYONE,
            success=200,
            body=Me,
        ),
    )
    async def get_me(request: AnyRequest) -> ASGIApp:
        kind, _, id = context.principal().actor.partition(":")
        # Before anything of the request's own transaction: each of the tenants takes a connection,
        # and who waits for a second one while holding the first can wait for ever.
        is_person = request.scope["state"]["is_person"]
        tenants = await _tenants_of(database, directory, UUID(id)) if is_person else []
        try:
            member = await members.get(UUID(id)) if kind == "member" else None
            key = await keys.get(UUID(id)) if kind == "key" else None
        except NotFound:
            # Gone in the seconds for which the credential is remembered.
            raise Unauthenticated from None
        who = member or key
        role = who.role if who else None
        return json_answer(await _me(role, member, tenants))

    return [get_me]


async def _me(role: str | None, member: MemberRead | None, tenants: list[MyTenant]) -> Me:
    principal, tenant = context.principal(), await own_tenant()
    name = TenantName(tenant.id, tenant.slug, tenant.name)
    permissions = sorted(principal.permissions)
    if member is not None and not tenants:
        # With a token of an external issuer, which selects no other.
        tenants = [MyTenant(name, member.role, member.id)]
    return Me(principal.actor, name, role, permissions, member, tenants)


async def _tenants_of(
    database: Database, directory: PersonDirectory, member_id: UUID
) -> list[MyTenant]:
    """Those in which the person is an active member now, which each tenant's own row tells."""
    found = []
    for tenant in await directory.tenants_of(context.principal().tenant_id, member_id):
        try:
            member = await _member_in(database, tenant)
        except NotFound:
            continue
        if member.status == "active":
            name = TenantName(tenant.tenant_id, tenant.slug, tenant.name)
            found.append(MyTenant(name, member.role, tenant.member_id))
    return found


async def _member_in(database: Database, tenant: PersonTenant) -> MemberRead:
    # A transaction each, for one transaction sees one tenant.
    elsewhere = msgspec.structs.replace(context.principal(), tenant_id=tenant.tenant_id)
    with acting_as(elsewhere):
        async with Transaction(database.app, read_only=True) as work:
            member = await members.get(tenant.member_id)
            await work.commit()
    return member
