"""API keys as they are stored and shown: without their secrets, with their last use."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import ARRAY, Uuid, any_, bindparam, select

from saas import context
from saas.db.models import table_of
from saas.db.query import ListQuery, QueryGrammar
from saas.db.repository import TenantRepository
from saas.db.row_operations import Page
from saas.db.row_schema import Read
from saas.db.statements import Statement, tenant_predicate
from saas.db.transaction import current_transaction
from saas.tenancy.models import ApiKeyRow, ApiKeyUse


class StoredKey(Read):
    name: str
    prefix: str
    role: str
    permissions: list[str] | None
    member_id: UUID | None
    expires_at: datetime | None


class ApiKeyRead(StoredKey):
    """`permissions` null means all of `role`. The key ends with the member `member_id`, and may do
    no more than he. `last_used_at` is some seconds behind."""

    last_used_at: datetime | None


_keys, _uses = table_of(ApiKeyRow), table_of(ApiKeyUse)
_hidden = ("previous_expires_at", "previous_member_id", "revoked_at")
repository = TenantRepository(ApiKeyRow, StoredKey, search=("name",), hidden=_hidden)
grammar = QueryGrammar(
    _keys, search=("name",), hidden=("secret_hash", "previous_secret_hash", *_hidden)
)
"""What a list of keys takes: that of the repository without `fields`, for its rows are put together
of two tables."""


async def api_key(id: UUID) -> ApiKeyRead:
    """Raises NotFound, also for a revoked key."""
    return (await _with_uses([await repository.get(id)]))[0]


async def api_keys(query: ListQuery) -> Page[ApiKeyRead]:
    page = await repository.list(query)
    return Page(
        items=await _with_uses(page.items),
        next_after=page.next_after,
        prev_before=page.prev_before,
        total=page.total,
    )


async def _with_uses(keys: Sequence[StoredKey]) -> list[ApiKeyRead]:
    values = {"tenant_id": context.principal().tenant_id, "ids": [key.id for key in keys]}
    rows = await current_transaction().run(_USES, values)
    used = {row["id"]: row["last_used_at"] for row in rows}
    return [
        ApiKeyRead(**msgspec.structs.asdict(key), last_used_at=used.get(key.id)) for key in keys
    ]


_USES = Statement(
    select(_uses.c.id, _uses.c.last_used_at).where(
        tenant_predicate(_uses), _uses.c.id == any_(bindparam("ids", type_=ARRAY(Uuid())))
    )
)
