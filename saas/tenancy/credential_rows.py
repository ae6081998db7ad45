"""The rows behind a key and a member, while they are good, with the tenant's state and limits.

Each is looked up inside the tenant's own row-level security; `issued_at` is the time of a token,
where the credential is one.
"""

from typing import Any

from sqlalchemy import Executable, bindparam, select

from saas.db.models import table_of
from saas.db.statements import Statement, tenant_predicate
from saas.tenancy.authority import key_is_good, with_holder
from saas.tenancy.key_secrets import secret_columns
from saas.tenancy.models import ApiKeyRow, Member, Plan, Tenant
from saas.tenancy.revocation import issued_since

_keys, _members = table_of(ApiKeyRow), table_of(Member)
_tenants, _plans = table_of(Tenant), table_of(Plan)


def _with_tenant(statement: Any, tenant_id: Any) -> Any:
    return (
        statement.add_columns(
            _tenants.c.slug,
            _tenants.c.status.label("tenant_status"),
            _tenants.c.limit_overrides,
            _plans.c.limits,
        )
        .join_from(tenant_id.table, _tenants, _tenants.c.id == tenant_id)
        .join(_plans, _plans.c.slug == _tenants.c.plan)
        .where(issued_since(_tenants.c.tokens_valid_from))
    )


def _key_statement() -> Executable:
    chosen = select(*secret_columns(), _keys.c.role, _keys.c.permissions, _keys.c.expires_at).where(
        tenant_predicate(_keys), *key_is_good()
    )
    statement: Executable = _with_tenant(with_holder(chosen), _keys.c.tenant_id)
    return statement


def _member_statement() -> Executable:
    statement: Executable = _with_tenant(select(_members.c.role), _members.c.tenant_id).where(
        tenant_predicate(_members),
        _members.c.id == bindparam("id"),
        _members.c.deleted_at.is_(None),
        _members.c.status == "active",
        issued_since(_members.c.tokens_valid_from),
    )
    return statement


KEY = Statement(_key_statement())
MEMBER = Statement(_member_statement())
