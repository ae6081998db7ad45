"""What an operator's access to a tenant is good for: the resolver's part of break-glass."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import bindparam, func, select

from saas.auth.permissions import PermissionCatalogue
from saas.context import Principal
from saas.db.models import table_of
from saas.db.statements import Statement, tenant_predicate
from saas.errors import Unauthenticated
from saas.tenancy.models import AccessGrant, Plan, Tenant


class Access(msgspec.Struct, frozen=True):
    """Marks an entry as an operator's. Without `may_write` its transactions are READ ONLY, whatever
    its permissions say."""

    grant_id: UUID
    may_write: bool


def principal_of_access(
    row: Mapping[str, Any], tenant_id: UUID, catalogue: PermissionCatalogue, timeout_ms: int
) -> Principal:
    """The operator inside the tenant, also in a suspended one. Raises Unauthenticated where the
    tenant is being deleted."""
    if row["tenant_status"] not in ("active", "suspended"):
        raise Unauthenticated
    return Principal(
        tenant_id=tenant_id,
        actor=row["operator"],
        permissions=permissions_of_access(catalogue, may_write=row["may_write"]),
        statement_timeout_ms=row["limits"].get("statement_timeout_ms") or timeout_ms,
    )


def permissions_of_access(catalogue: PermissionCatalogue, *, may_write: bool) -> frozenset[str]:
    """All reads but those of credentials; for writing what a member has. Neither members nor keys
    nor the tenant itself can be changed, and nothing can be deleted for good."""
    reads = {name for name in catalogue.all if name.endswith(":read")}
    writes = catalogue.of_role("member") if may_write else frozenset()
    return frozenset(reads | writes) - _NEVER


_NEVER = frozenset({"api_keys:read", "api_keys:write"})
_grants, _tenants, _plans = table_of(AccessGrant), table_of(Tenant), table_of(Plan)
ACCESS = Statement(
    select(
        _grants.c.secret_hash,
        _grants.c.operator,
        _grants.c.may_write,
        _grants.c.expires_at,
        _tenants.c.slug,
        _tenants.c.status.label("tenant_status"),
        _plans.c.limits,
    )
    .join_from(_grants, _tenants, _tenants.c.id == _grants.c.tenant_id)
    .join(_plans, _plans.c.slug == _tenants.c.plan)
    .where(
        tenant_predicate(_grants),
        _grants.c.id == bindparam("id"),
        _grants.c.revoked_at.is_(None),
        _grants.c.expires_at > func.now(),
    )
)
