"""A tenant's API keys: made, rotated, revoked. The look-up of a credential is in `resolver.py`."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Interval, Update, bindparam, case, func
from uuid_utils.compat import uuid7

from saas import context
from saas.auth.keys import ApiKey, new_api_key
from saas.auth.permissions import PermissionCatalogue, Role
from saas.db.models import table_of
from saas.db.statements import Statement, edited, insert_row, live, tenant_predicate
from saas.db.transaction import current_transaction
from saas.errors import FieldError, Invalid, OutlivesCreator, VersionConflict
from saas.tenancy.authority import Authority, present_authority
from saas.tenancy.models import ApiKeyRow
from saas.tenancy.own_tenant import lock_own_tenant
from saas.tenancy.stored_keys import ApiKeyRead, StoredKey, api_key, repository

WRITE = "api_keys:write"
MOST_OVERLAP_SECONDS = 30 * 24 * 3_600


class NewApiKey(ApiKeyRead):
    """`key` is shown this once."""

    key: str


class KeyWish(NamedTuple):
    """`permissions` None: all that the one who makes the key has himself."""

    name: str
    permissions: Sequence[str] | None = None
    expires_at: datetime | None = None


_keys = table_of(ApiKeyRow)


class ApiKeys:
    """The changes of keys that people ask for. Each holds the tenant's lock, and looks at what the
    one who acts may do now."""

    def __init__(self, catalogue: PermissionCatalogue) -> None:
        self._catalogue = catalogue

    async def create(self, wish: KeyWish) -> NewApiKey:
        """Raises Invalid for an unknown permission or an end in the past, PermissionDenied for a
        permission that one has not oneself, OutlivesCreator."""
        self._refuse_unknown(wish.permissions or ())
        expires_at = _future(wish.expires_at)
        await lock_own_tenant()
        present = await self._authority()
        wanted = present.permissions if wish.permissions is None else frozenset(wish.permissions)
        present.require(*wanted)
        _refuse_longer(expires_at, present)
        role = present.role or Role.OWNER.value
        # A key with all of its role gets what the role gets later.
        has_all = wanted == self._catalogue.of_role(role)
        made = new_api_key(context.principal().tenant_id, uuid7())
        row = await _write(
            _INSERT,
            {
                "v_id": made.key_id,
                "v_name": wish.name,
                "v_prefix": made.prefix,
                "v_secret_hash": made.secret_hash,
                "v_role": role,
                "v_permissions": None if has_all else sorted(wanted),
                "v_expires_at": expires_at,
            },
            present,
        )
        return _with_key(row, None, made)

    async def rotate(
        self, id: UUID, *, overlap_seconds: int = 0, version: int | None = None
    ) -> NewApiKey:
        """Give a key another secret; the one before it is good for `overlap_seconds` more. Raises
        PermissionDenied where the key may do what one may not oneself, OutlivesCreator, NotFound
        and VersionConflict."""
        await lock_own_tenant()
        before = await api_key(id)
        if version is not None and before.version != version:
            raise VersionConflict(before.version)
        present = await self._authority()
        # Else whoever rotates a key would get all that it may do.
        present.require(*self._catalogue.narrowed(before.role, before.permissions))
        _refuse_longer(before.expires_at, present)
        made = new_api_key(context.principal().tenant_id, id)
        values = {"id": id, "v_secret_hash": made.secret_hash}
        values["overlap"] = timedelta(seconds=overlap_seconds)
        return _with_key(await _write(_ROTATE, values, present), before.last_used_at, made)

    async def revoke(self, id: UUID, *, version: int | None = None) -> None:
        """End a key, whatever it may do: that gives nobody anything. Keys made with it live on.
        Raises NotFound and VersionConflict."""
        await lock_own_tenant()
        await self._authority()
        await repository.delete(id, version=version)

    async def _authority(self) -> Authority:
        present = await present_authority(self._catalogue)
        present.require(WRITE)
        return present

    def _refuse_unknown(self, permissions: Sequence[str]) -> None:
        unknown = [
            FieldError(f"/permissions/{index}", "unknown_permission", "There is none of this name.")
            for index, permission in enumerate(permissions)
            if permission not in self._catalogue.all
        ]
        if unknown:
            raise Invalid(errors=unknown)


def _future(end: datetime | None) -> datetime | None:
    if end is not None and end <= datetime.now(UTC):
        past = FieldError("/expires_at", "in_the_past", "It is over already.")
        raise Invalid(errors=[past])
    return end


def _refuse_longer(end: datetime | None, present: Authority) -> None:
    """A key that expires must not go on for ever as another one."""
    if present.expires_at is not None and (end is None or end > present.expires_at):
        raise OutlivesCreator


def _with_key(row: Mapping[str, Any], last_used_at: datetime | None, made: ApiKey) -> NewApiKey:
    return NewApiKey(**row, last_used_at=last_used_at, key=made.text)


async def _write(
    statement: Statement, values: dict[str, Any], present: Authority
) -> Mapping[str, Any]:
    """The row that is written, held to the member who learns its secret."""
    actor = context.principal().actor
    authors = {"v_created_by": actor, "v_updated_by": actor, "actor": actor}
    rows = await _run(statement, values | authors | {"v_member_id": present.member_id})
    return dict(rows[0])


async def _run(statement: Statement, values: dict[str, Any]) -> Sequence[Mapping[str, Any]]:
    values["tenant_id"] = context.principal().tenant_id
    rows: Sequence[Mapping[str, Any]] = await current_transaction().run(statement, values)
    return rows


def _rotate() -> Update:
    overlap = bindparam("overlap", type_=Interval())
    overlaps = overlap > timedelta(0)
    return (
        edited(_keys)
        .where(
            tenant_predicate(_keys),
            _keys.c.id == bindparam("id", type_=_keys.c.id.type),
            *live(_keys),
        )
        .values(
            secret_hash=bindparam("v_secret_hash", type_=_keys.c.secret_hash.type),
            member_id=bindparam("v_member_id", type_=_keys.c.member_id.type),
            previous_secret_hash=case((overlaps, _keys.c.secret_hash)),
            previous_member_id=case((overlaps, _keys.c.member_id)),
            previous_expires_at=case((overlaps, func.now() + overlap)),
        )
        .returning(*(_keys.c[name] for name in StoredKey.__struct_fields__))
    )


_INSERTED = (
    *("id", "name", "prefix", "secret_hash", "role", "permissions", "expires_at", "member_id"),
    *("created_by", "updated_by"),
)
_INSERT = Statement(insert_row(_keys, _INSERTED, StoredKey.__struct_fields__))
_ROTATE = Statement(_rotate())
