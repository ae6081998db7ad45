"""The end of all tokens at once, of a member or of the whole tenant. API keys live on: they are
ended one by one."""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import BigInteger, bindparam, func, text

from saas import context
from saas.db.models import table_of
from saas.db.statements import Statement, edited, live, tenant_predicate
from saas.db.transaction import current_transaction
from saas.errors import NotFound
from saas.tenancy.models import Member, Tenant

_members, _tenants = table_of(Member), table_of(Tenant)


class Revoked(NamedTuple):
    """Tokens issued before this time, a whole second, are refused: at once where nothing is
    remembered of them, and within 5 s everywhere. `role` is the member's."""

    tokens_valid_from: datetime
    role: str | None = None


async def revoke_tenant_tokens() -> Revoked:
    """End every token of the bound tenant, in the current transaction."""
    return await _run(_OF_TENANT, {})


async def revoke_member_tokens(member_id: UUID) -> Revoked:
    """End every token of a live member of the bound tenant, in the current transaction. Raises
    NotFound."""
    return await _run(_OF_MEMBER, {"id": member_id})


def issued_since(valid_from: Any) -> Any:
    """The condition on a statement that its parameter `issued_at`, the Unix time of a token, is not
    before `valid_from`; null is no token. The time is a whole second, rounded down: it counts for
    the earliest that it may have been."""
    issued_at = bindparam("issued_at", type_=BigInteger())
    return valid_from.is_(None) | issued_at.is_(None) | (func.to_timestamp(issued_at) >= valid_from)


async def _run(statement: Statement, values: dict[str, Any]) -> Revoked:
    who = context.principal()
    values |= {"tenant_id": who.tenant_id, "actor": who.actor}
    rows = await current_transaction().run(statement, values)
    if not rows:
        raise NotFound
    return Revoked(*rows[0])


# The next whole second: a token says in which second it was issued, not when within it. Never
# earlier than before, whatever the clock has done.
_NEXT_SECOND = func.date_trunc("second", func.clock_timestamp()) + text("interval '1 second'")
_OF_TENANT = Statement(
    # unscoped: the row of the tenant itself, by its id
    edited(_tenants)
    .where(_tenants.c.id == bindparam("tenant_id"))
    .values(tokens_valid_from=func.greatest(_tenants.c.tokens_valid_from, _NEXT_SECOND))
    .returning(_tenants.c.tokens_valid_from)
)
_OF_MEMBER = Statement(
    edited(_members)
    .where(tenant_predicate(_members), _members.c.id == bindparam("id"), *live(_members))
    .values(tokens_valid_from=func.greatest(_members.c.tokens_valid_from, _NEXT_SECOND))
    .returning(_members.c.tokens_valid_from, _members.c.role)
)
