"""The tokens that open tenants: ours, and those of external issuers, whose words are turned into
ours: a tenant that there is, and a member of it."""

from typing import NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import Uuid, bindparam, or_, select

from saas import context
from saas.auth.external_claims import ExternalClaims
from saas.auth.external_issuers import ExternalIssuers
from saas.auth.tokens import Claims, TokenIssuer
from saas.context import Principal
from saas.db.database import Database
from saas.db.models import table_of
from saas.db.statements import Statement, tenant_predicate
from saas.db.transaction import Transaction
from saas.errors import NotFound, Unauthenticated
from saas.tenancy.directory import TenantRead, tenant_by_id, tenant_by_slug
from saas.tenancy.fields import canonical_email
from saas.tenancy.models import Member

_members = table_of(Member)


class TenantTokens(NamedTuple):
    """Verifies what either of them has issued."""

    own: TokenIssuer
    external: ExternalIssuers
    database: Database

    async def verify(self, token: str) -> Claims:
        """The claims of a good token; of an external one with the id of a live member. Raises
        Unauthenticated for any other."""
        issuer = self.external.of(token)
        if issuer is None:
            return self.own.verify(token)
        claims = await issuer.verify(token)
        tenant = await self._tenant(claims.tenant)
        if not issuer.may_name(tenant.id, tenant.slug):
            raise Unauthenticated
        return Claims(
            subject=str(await self._member(tenant.id, claims)),
            tenant_id=tenant.id,
            role=claims.role,
            issued_at=claims.issued_at,
            expires_at=claims.expires_at,
            permissions=claims.permissions,
        )

    def is_own(self, token: str) -> bool:
        """Whether a token that `verify` has taken is of our own issuer. Only such a token speaks
        for a person in other tenants: one tenant's own issuer could enter any of them by its
        members' names."""
        return self.external.of(token) is None

    async def _tenant(self, name: str) -> TenantRead:
        """By the platform's role: nobody is bound before the tenant is known."""
        id = _as_id(name)
        async with Transaction(self.database.platform, read_only=True) as work:
            try:
                found = await (tenant_by_slug(name) if id is None else tenant_by_id(id))
            except NotFound:
                raise Unauthenticated from None
            await work.commit()
        return found

    async def _member(self, tenant_id: UUID, claims: ExternalClaims) -> UUID:
        """The member of this id, else the one of this address, inside the tenant's own row-level
        security."""
        finder = Principal(tenant_id=tenant_id, actor="system:resolver", statement_timeout_ms=5_000)
        email = canonical_email(claims.email) if claims.email is not None else None
        values = {"tenant_id": tenant_id, "id": _as_id(claims.subject), "email": email}
        with context.acting_as(finder):
            async with Transaction(self.database.app, read_only=True) as work:
                rows = await work.run(_MEMBER, values)
                await work.commit()
        if not rows:
            raise Unauthenticated
        found: UUID = rows[0]["id"]
        return found


def _as_id(text: str) -> UUID | None:
    """An id in its one spelling. A slug that reads like one is taken for the id that it reads."""
    try:
        id = msgspec.convert(text, UUID)
    except msgspec.ValidationError:
        return None
    return id if str(id) == text else None


# A null finds nothing. The id goes before the address, which can be given to another member.
_MEMBER = Statement(
    select(_members.c.id)
    .where(
        tenant_predicate(_members),
        _members.c.deleted_at.is_(None),
        _members.c.status == "active",
        or_(
            _members.c.id == bindparam("id", type_=Uuid()),
            _members.c.email == bindparam("email"),
        ),
    )
    .order_by(_members.c.id.is_distinct_from(bindparam("id", type_=Uuid())))
    .limit(1)
)
