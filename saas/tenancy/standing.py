"""Whether the bound tenant may go on: for work that lasts longer than the request that began it."""

from sqlalchemy import bindparam, select

from saas import context
from saas.db.models import table_of
from saas.db.statements import Statement
from saas.db.transaction import current_transaction
from saas.errors import TenantSuspended
from saas.tenancy.models import Tenant

_tenants = table_of(Tenant)
_STATUS = Statement(select(_tenants.c.status).where(_tenants.c.id == bindparam("id")))


async def require_active_tenant() -> None:
    """Raises TenantSuspended where it is suspended, on its way out, or gone."""
    rows = await current_transaction().run(_STATUS, {"id": context.principal().tenant_id})
    if not rows or rows[0][0] != "active":
        raise TenantSuspended
