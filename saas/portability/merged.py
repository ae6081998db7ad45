"""What follows from the rows that a tenant has taken in: its members as the directory lists them,
an owner, and its limits. In the current transaction, bound to the tenant."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Uuid, bindparam, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from saas import context
from saas.db.models import table_of
from saas.db.statements import Statement, tenant_predicate
from saas.db.transaction import current_transaction
from saas.errors import Conflict
from saas.tenancy.member_quota import require_members_fit
from saas.tenancy.models import Member, Membership, RowQuota
from saas.usage.restored import count_merged

_members, _memberships, _quotas = table_of(Member), table_of(Membership), table_of(RowQuota)


async def check_members() -> None:
    """To be called where members have changed. Raises QuotaExceeded for more active ones than the
    tenant may have, Conflict where nobody is left who owns it."""
    await require_members_fit()
    if not await _run(_OWNER):
        raise Conflict("This tenant would have no active owner any more. Nothing is kept.")


async def settle() -> None:
    """Make the directory list the members, count the events, and have the rows of quotas counted
    anew: they have come past the counts."""
    for statement in (_ENLIST, _STRIKE_OFF, _FORGET):
        await _run(statement)
    await count_merged()


async def _run(statement: Statement) -> Sequence[Any]:
    return await current_transaction().run(statement, {"tenant_id": context.principal().tenant_id})


def _owner() -> Statement:
    is_live = (_members.c.deleted_at.is_(None), _members.c.status == "active")
    found = select(_members.c.id).where(tenant_predicate(_members), *is_live)
    return Statement(found.where(_members.c.role == "owner").limit(1))


def _enlisted() -> Statement:
    """Members who are new here, each as a person that nobody else is."""
    live = select(_members.c.tenant_id, _members.c.id, func.uuidv7()).where(
        tenant_predicate(_members), _members.c.deleted_at.is_(None)
    )
    listed = insert(_memberships).from_select(["tenant", "member_id", "person_id"], live)
    return Statement(listed.on_conflict_do_nothing())


def _struck_off() -> Statement:
    deleted = select(_members.c.id).where(
        tenant_predicate(_members), _members.c.deleted_at.is_not(None)
    )
    own = _memberships.c.tenant == bindparam("tenant_id", type_=Uuid())
    return Statement(delete(_memberships).where(own, _memberships.c.member_id.in_(deleted)))


_OWNER, _ENLIST, _STRIKE_OFF = _owner(), _enlisted(), _struck_off()
_FORGET = Statement(delete(_quotas).where(tenant_predicate(_quotas)))
