"""How many active members a tenant may have."""

from typing import Any

from sqlalchemy import Executable, bindparam, func, select

from saas import context
from saas.db.models import table_of
from saas.db.operation import Operation, Rows, Step
from saas.db.quotas import hold
from saas.db.repository import perform
from saas.db.statements import Statement, tenant_predicate
from saas.errors import QuotaExceeded
from saas.limits import NO_LIMITS, Limits, limits_of
from saas.tenancy.models import Member, Plan, Tenant

_members, _tenants, _plans = table_of(Member), table_of(Tenant), table_of(Plan)


async def reserve_member() -> None:
    """To be called before a member is added, restored or made active again, in the same
    transaction: the tenant's others who do so wait until it ends. Who acts need not have the
    tenant's limits, as an operator or somebody who accepts an invitation has not: they are read.
    Raises QuotaExceeded where there is no room for one more active member."""
    await perform(member_reservation())


def member_reservation() -> Operation[None]:
    """`reserve_member` as an Operation."""
    most = (yield from present_limits()).members
    if most is None:
        return
    yield from hold(_members.name)
    # A statement of its own: only a snapshot that is taken under the lock shows those before.
    if (yield from _run(_ACTIVE))[0]["members"] >= most:
        raise QuotaExceeded("members", most, of="active members")


async def require_members_fit() -> None:
    """`reserve_member` for who adds many at once: to be called after that, in the same transaction.
    Raises QuotaExceeded where there are more active members than the tenant may have."""
    await perform(_members_fit())


def _members_fit() -> Operation[None]:
    most = (yield from present_limits()).members
    if most is None:
        return
    yield from hold(_members.name)
    if (yield from _run(_ACTIVE))[0]["members"] > most:
        raise QuotaExceeded("members", most, of="active members")


def present_limits() -> Operation[Limits]:
    """The limits of the bound tenant as they are now; none for a tenant that nobody knows."""
    rows = yield from _run(_LIMITS)
    return limits_of(rows[0]["limits"], rows[0]["limit_overrides"]) if rows else NO_LIMITS


def _run(statement: Statement) -> Operation[Rows]:
    values: dict[str, Any] = {"tenant_id": context.principal().tenant_id}
    return (yield Step(statement, values))


def _active_members() -> Executable:
    is_active = (_members.c.deleted_at.is_(None), _members.c.status == "active")
    return (
        select(func.count().label("members"))
        .select_from(_members)
        .where(tenant_predicate(_members), *is_active)
    )


def _present_limits() -> Executable:
    found = select(_plans.c.limits, _tenants.c.limit_overrides)
    joined = found.join_from(_tenants, _plans, _plans.c.slug == _tenants.c.plan)
    return joined.where(_tenants.c.id == bindparam("tenant_id", type_=_tenants.c.id.type))


_ACTIVE, _LIMITS = Statement(_active_members()), Statement(_present_limits())
