"""The tenant of the principal, as it sees and names itself."""

from typing import Any

from sqlalchemy import ColumnElement, Update, bindparam, func, select, update

from saas import context
from saas.db.models import table_of
from saas.db.statements import Statement
from saas.db.transaction import current_transaction
from saas.errors import NotFound, VersionConflict
from saas.tenancy.directory import SHOWN, TenantRead, tenant_by_id
from saas.tenancy.models import Tenant

_tenants = table_of(Tenant)


async def own_tenant() -> TenantRead:
    return await tenant_by_id(context.principal().tenant_id)


async def rename_own_tenant(name: str | None, *, version: int | None = None) -> TenantRead:
    """Give the tenant another display name; the one that it has, or None, keeps its version. Raises
    VersionConflict when `version` is not the present one."""
    if name is not None:
        values = {"name": name, "actor": context.principal().actor, "expected_version": version}
        rows = await _run(_RENAME if version is None else _RENAME_VERSION, values)
        if rows:
            return TenantRead(*rows[0])
    present = await own_tenant()
    if version is not None and present.version != version:
        raise VersionConflict(present.version)
    return present


async def lock_own_tenant() -> str:
    """The status of the tenant, which stays as it is until the transaction ends.

    Whatever changes who may enter a tenant takes this lock first, before it looks at anything: two
    changes at once see each other's effect, and none waits for another in a circle."""
    rows = await _run(_LOCK, {})
    if not rows:
        raise NotFound
    status: str = rows[0]["status"]
    return status


async def _run(statement: Statement, values: dict[str, Any]) -> Any:
    values["tenant_id"] = context.principal().tenant_id
    return await current_transaction().run(statement, values)


def _is_own() -> ColumnElement[bool]:
    return _tenants.c.id == bindparam("tenant_id", type_=_tenants.c.id.type)


def _rename() -> Update:
    name = bindparam("name", type_=_tenants.c.name.type)
    return (
        update(_tenants)
        .where(_is_own(), _tenants.c.name.is_distinct_from(name))
        .values(
            name=name,
            version=_tenants.c.version + 1,
            updated_at=func.now(),
            updated_by=bindparam("actor"),
        )
        .returning(*SHOWN)
    )


_RENAME = Statement(_rename())
_RENAME_VERSION = Statement(_rename().where(_tenants.c.version == bindparam("expected_version")))
# NO KEY: an insert that refers to the tenant need not wait.
_LOCK = Statement(select(_tenants.c.status).where(_is_own()).with_for_update(key_share=True))
