"""Onboarding: tenant, first owner and first API key come into being together, or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any
from uuid import UUID

import msgspec
from sqlalchemy import Table, bindparam, insert
from uuid_utils.compat import uuid7

from saas import context
from saas.auth.keys import ApiKey, new_api_key
from saas.context import Principal
from saas.db.models import table_of
from saas.db.statements import Statement
from saas.db.transaction import current_transaction
from saas.errors import AlreadyExists, FieldError, Invalid
from saas.tenancy.directory import TenantRead, tenant_by_id
from saas.tenancy.fields import Email, Name, canonical_email
from saas.tenancy.models import SLUG_PATTERN, ApiKeyRow, Member, Membership, Tenant

# Python's $ also matches before a last newline; the look-ahead refuses that, and means nothing to
# the other readers of the pattern.
Slug = Annotated[
    str,
    msgspec.Meta(
        pattern=rf"{SLUG_PATTERN}(?!\n)",
        description="Small letters, digits and hyphens, 3 to 40, a letter first.",
    ),
]
PlanSlug = Annotated[str, msgspec.Meta(min_length=1, max_length=40)]


class Owner(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    email: Email
    name: Name


class Onboard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The wish for a new tenant. A slug is 3 to 40 of `a-z 0-9 -`, starting with a letter."""

    slug: Slug
    name: Name
    plan: PlanSlug = "free"
    owner: Owner


class Onboarded(msgspec.Struct, frozen=True):
    """The new tenant. `owner_email` is as it was stored; `api_key.text` is the one chance to read
    the key."""

    tenant: TenantRead
    owner_id: UUID
    owner_email: str
    api_key: ApiKey


async def onboard(wish: Onboard, *, actor: str) -> Onboarded:
    """Create all three in the current transaction, on the platform's connection, bound to the
    new tenant. Raises AlreadyExists for a slug that is taken, Invalid for an unknown plan."""
    tenant_id, owner_id, person_id = uuid7(), uuid7(), uuid7()
    key, email = new_api_key(tenant_id, uuid7()), canonical_email(wish.owner.email)
    with context.acting_as(Principal(tenant_id=tenant_id, actor=actor), context.origin()):
        await _insert_tenant(wish, tenant_id, actor)
        await _insert(
            _members,
            {
                "tenant_id": tenant_id,
                "id": owner_id,
                "email": email,
                "name": wish.owner.name,
                "role": "owner",
                "created_by": actor,
                "updated_by": actor,
            },
        )
        enlisted = {"tenant": tenant_id, "member_id": owner_id, "person_id": person_id}
        await _insert(_memberships, enlisted)
        await _insert(
            _api_keys,
            {
                "tenant_id": tenant_id,
                "id": key.key_id,
                "name": "First key",
                "prefix": key.prefix,
                "secret_hash": key.secret_hash,
                "role": "owner",
                "created_by": actor,
                "updated_by": actor,
            },
        )
        tenant = await tenant_by_id(tenant_id)
    return Onboarded(tenant, owner_id, email, key)


async def _insert_tenant(wish: Onboard, tenant_id: UUID, actor: str) -> None:
    values = {
        "id": tenant_id,
        "slug": wish.slug,
        "name": wish.name,
        "plan": wish.plan,
        "created_by": actor,
        "updated_by": actor,
    }
    try:
        with telling_of_plans():
            await _insert(_tenants, values)
    except AlreadyExists:
        taken = FieldError("/slug", "taken", "Taken.")
        raise AlreadyExists("A tenant with this slug exists already.", errors=[taken]) from None


@contextmanager
def telling_of_plans() -> Iterator[None]:
    """An unknown plan is refused by its name; it is all that a tenant refers to."""
    try:
        yield
    except Invalid as refusal:
        if [error.code for error in refusal.errors] != ["unknown_reference"]:
            raise
        unknown = FieldError("/plan", "unknown_reference", "There is no such plan.")
        raise Invalid(errors=[unknown]) from None


async def _insert(table: Table, values: dict[str, Any]) -> None:
    # No RETURNING: the platform role may write these rows, not read tenants' tables.
    columns = {name: bindparam(name, type_=table.c[name].type) for name in values}
    # unscoped: a tenant's rows are given with their tenant_id, and the tenant is the bound one
    statement = Statement(insert(table).values(columns))
    await current_transaction().run(statement, values)


_tenants, _members = table_of(Tenant), table_of(Member)
_api_keys, _memberships = table_of(ApiKeyRow), table_of(Membership)
