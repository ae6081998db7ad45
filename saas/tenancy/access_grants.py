"""Break-glass: an operator's way into one tenant, for a reason and a while. The tenant reads in its
own log who came, why and until when, and every request that was made.

Grants are opened, listed and revoked here, in a transaction of the platform; what the credential
may do is in `access_entry.py`."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

import msgspec
from sqlalchemy import bindparam, func, insert, select, update
from uuid_utils.compat import uuid7

from saas.auth.keys import ACCESS_SCHEME, new_api_key
from saas.context import entering
from saas.db.models import table_of
from saas.db.pool import Pool
from saas.db.query import ListQuery
from saas.db.repository import TenantRepository
from saas.db.row_operations import Page
from saas.db.statements import Statement, tenant_predicate
from saas.db.transaction import Transaction, current_transaction
from saas.errors import FieldError, Invalid, NotFound, Unauthenticated, WrongTenantStatus
from saas.tenancy.directory import tenant_by_id
from saas.tenancy.lifecycle_statements import OPEN
from saas.tenancy.models import AccessGrant, Tenant
from saas.texts import NotBlank

LONGEST = timedelta(hours=24)
Reason = Annotated[NotBlank, msgspec.Meta(min_length=1, max_length=1_000)]


class AccessWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`expires_at` is at most 24 hours ahead. Without `write` it can only read."""

    reason: Reason
    expires_at: Annotated[datetime, msgspec.Meta(tz=True)]
    write: bool = False


class OpenedAccess(msgspec.Struct, frozen=True):
    """`access_token` is shown this once."""

    id: UUID
    access_token: str
    expires_at: datetime


class AccessRead(msgspec.Struct, frozen=True):
    id: UUID
    operator: str
    reason: str
    may_write: bool
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None


_repository: TenantRepository[AccessGrant, AccessRead] = TenantRepository(AccessGrant, AccessRead)
grammar = _repository.grammar


async def open_access(tenant_id: UUID, wish: AccessWish, *, operator: str) -> OpenedAccess:
    """Let `operator` in. Raises Invalid for an expiry that is past or too far, NotFound,
    WrongTenantStatus for a tenant that is being deleted."""
    key = new_api_key(tenant_id, uuid7(), scheme=ACCESS_SCHEME)
    granted = {
        "tenant_id": tenant_id,
        "id": key.key_id,
        "operator": operator,
        "reason": wish.reason,
        "may_write": wish.write,
        "secret_hash": key.secret_hash,
        "expires_at": wish.expires_at,
    }
    with entering(tenant_id, operator):
        await _require_open(tenant_id)
        if not timedelta() < wish.expires_at - datetime.now(UTC) <= LONGEST:
            message = "Give a time in the future, at most 24 hours ahead."
            raise Invalid(errors=[FieldError("/expires_at", "out_of_range", message)])
        await current_transaction().run(_OPEN, granted)
        told = {name: granted[name] for name in ("reason", "expires_at")}
        await _record({"grant": key.key_id, **told, "write": wish.write})
    return OpenedAccess(key.key_id, key.text, wish.expires_at)


async def accesses(
    tenant_id: UUID, query: ListQuery | None = None, *, operator: str
) -> Page[AccessRead]:
    """The grants of a tenant, open, ended and revoked. Raises NotFound."""
    await tenant_by_id(tenant_id)
    with entering(tenant_id, operator):
        return await _repository.list(query)


async def revoke_access(tenant_id: UUID, grant_id: UUID, *, operator: str) -> None:
    """End a grant, everywhere within 5 s; one that has been revoked stays so. Raises NotFound."""
    with entering(tenant_id, operator):
        ids = {"tenant_id": tenant_id, "id": grant_id}
        if await current_transaction().run(_REVOKE, ids):
            await _record({"grant": grant_id, "revoked": True})
        else:
            await _repository.get(grant_id)


async def record_use(platform: Pool, details: dict[str, Any]) -> None:
    """Tell the bound tenant what the bound operator is about to do, and commit that. Raises
    Unauthenticated where the tenant is being deleted."""
    async with Transaction(platform) as work:
        if not await _record(details):
            raise Unauthenticated
        await work.commit()


async def _record(details: dict[str, Any]) -> bool:
    """Whether there is still somebody to be told."""
    rows = await current_transaction().fetch(_RECORD, [details])
    is_recorded: bool = rows[0]["is_recorded"]
    return is_recorded


async def _require_open(tenant_id: UUID) -> None:
    rows = await current_transaction().run(_STATUS, {"id": tenant_id})
    if not rows:
        raise NotFound
    if rows[0]["status"] not in OPEN:
        raise WrongTenantStatus("This tenant is deleted; nobody enters it.", rows[0]["status"])


_grants, _tenants = table_of(AccessGrant), table_of(Tenant)
_RECORD = "SELECT public.record_access($1) AS is_recorded"
# Locked: an offboarding waits for who is opening an access, so that none is opened behind its back.
_STATUS = Statement(
    select(_tenants.c.status).where(_tenants.c.id == bindparam("id")).with_for_update(read=True)
)
# unscoped: the row is given with its tenant_id, which is the bound one
_OPEN = Statement(
    insert(_grants).values(
        {
            column.name: bindparam(column.name, type_=column.type)
            for column in _grants.columns
            if column.name not in {"created_at", "revoked_at"}
        }
    )
)
_REVOKE = Statement(
    update(_grants)
    .where(tenant_predicate(_grants), _grants.c.id == bindparam("id"))
    .where(_grants.c.revoked_at.is_(None))
    .values(revoked_at=func.now())
    .returning(_grants.c.id)
)
