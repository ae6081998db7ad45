"""From a credential to a principal: the one place that decides who the caller is.

The credential names its tenant, so it is looked up inside that tenant's own row-level security.
What is found is remembered for at most `cache_seconds`: the bound on how long a revoked key or a
suspended tenant still works.
"""

import hashlib
import math
import time
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Executable, bindparam, func, select

from saas import context
from saas.auth.keys import ACCESS_SCHEME, ParsedKey, matches, parse_api_key
from saas.auth.permissions import PermissionCatalogue
from saas.auth.tokens import Claims
from saas.context import Principal
from saas.db.models import table_of
from saas.db.pool import Pool
from saas.db.statements import Statement, tenant_predicate
from saas.db.transaction import Transaction
from saas.errors import NotFound, TenantSuspended, Unauthenticated
from saas.limits import limits_of
from saas.tenancy.access_entry import ACCESS, Access, principal_of_access
from saas.tenancy.models import ApiKeyRow, Member, Plan, Tenant
from saas.tenancy.revocation import issued_since
from saas.tenancy.tenant_tokens import TenantTokens

_keys, _members = table_of(ApiKeyRow), table_of(Member)
_tenants, _plans = table_of(Tenant), table_of(Plan)
# Look-ups share a lane of the pool: a credential that names a tenant proves nothing yet, so it must
# not take connections from that tenant, and invented ones must not take all from everybody.
_LOOK_UPS = "look-ups"
# A token's subject is `key:<id>` or a member's id.
_KEY_SUBJECT = "key:"


class Entry(msgspec.Struct, frozen=True):
    """A resolved credential: the principal, and the two names by which its tenant is selected.
    `access` is there where the caller is an operator."""

    principal: Principal
    tenant_id: str
    slug: str
    access: Access | None = None


class Resolver:
    """Resolves tenants' credentials; one per process."""

    def __init__(
        self,
        pool: Pool,
        tokens: TenantTokens,
        catalogue: PermissionCatalogue,
        *,
        cache_seconds: float,
        statement_timeout_ms: int,
        most_remembered: int = 50_000,
    ) -> None:
        self._pool = pool
        self._tokens = tokens
        self._catalogue = catalogue
        self.cache_seconds = cache_seconds
        self._statement_timeout_ms = statement_timeout_ms
        self._most_remembered = most_remembered
        self._remembered: dict[bytes, tuple[float, Entry]] = {}

    async def resolve(self, credential: str, selected: list[str]) -> Entry:
        """The principal behind `credential`. `selected` are the X-Tenant-ID headers, which only
        select among the tenants that the credential may enter.

        Raises Unauthenticated, TenantSuspended, or NotFound for a tenant that is not its own."""
        # A digest, so that no secret stays in memory.
        digest = hashlib.sha256(credential.encode("latin-1", "replace")).digest()
        now = time.monotonic()
        found = self._remembered.get(digest)
        if found is None or found[0] <= now:
            entry, expires_at = await self._look_up(credential)
            # Never past the credential's own end.
            seconds = min(self.cache_seconds, expires_at - time.time())
            self._remember(digest, now + seconds, entry)
        else:
            entry = found[1]
        if selected and selected not in ([entry.tenant_id], [entry.slug]):
            # Disagreeing, repeated, malformed or foreign: all as if there were no such tenant.
            raise NotFound
        return entry

    def _remember(self, digest: bytes, until: float, entry: Entry) -> None:
        if len(self._remembered) >= self._most_remembered:
            self._remembered.clear()
        self._remembered[digest] = (until, entry)

    async def _look_up(self, credential: str) -> tuple[Entry, float]:
        """The entry, and the Unix time at which the credential itself ends."""
        if credential.startswith("sk_"):
            key = parse_api_key(credential)
            if key is None:
                raise Unauthenticated
            return await self._of_key(key.tenant_id, key.key_id, key, None)
        if credential.startswith(ACCESS_SCHEME):
            return await self._of_access(parse_api_key(credential, scheme=ACCESS_SCHEME))
        claims = await self._tokens.verify(credential)
        tenant_id = claims.tenant_id
        if tenant_id is None:
            raise Unauthenticated
        is_key = claims.subject.startswith(_KEY_SUBJECT)
        try:
            subject = msgspec.convert(claims.subject.removeprefix(_KEY_SUBJECT), UUID)
        except msgspec.ValidationError:
            raise Unauthenticated from None
        if is_key:
            entry, expires_at = await self._of_key(tenant_id, subject, None, claims.issued_at)
        else:
            entry, expires_at = (
                await self._of_member(tenant_id, subject, claims.issued_at),
                math.inf,
            )
        return self._narrowed(entry, claims), min(expires_at, claims.expires_at)

    async def _of_key(
        self, tenant_id: UUID, key_id: UUID, presented: ParsedKey | None, issued_at: int | None
    ) -> tuple[Entry, float]:
        row = await self._fetch(_KEY, tenant_id, key_id, issued_at)
        if presented is not None and not matches(row["secret_hash"], presented.secret_hash):
            raise Unauthenticated
        permissions = self._catalogue.narrowed(row["role"], row["permissions"])
        expires_at = row["expires_at"]
        entry = self._entry(row, tenant_id, f"key:{key_id}", permissions)
        return entry, expires_at.timestamp() if expires_at else math.inf

    async def _of_access(self, presented: ParsedKey | None) -> tuple[Entry, float]:
        if presented is None:
            raise Unauthenticated
        tenant_id = presented.tenant_id
        row = await self._fetch(ACCESS, tenant_id, presented.key_id, None)
        if not matches(row["secret_hash"], presented.secret_hash):
            raise Unauthenticated
        timeout = self._statement_timeout_ms
        principal = principal_of_access(row, tenant_id, self._catalogue, timeout)
        access = Access(presented.key_id, row["may_write"])
        return Entry(principal, str(tenant_id), row["slug"], access), row["expires_at"].timestamp()

    async def _of_member(self, tenant_id: UUID, member_id: UUID, issued_at: int) -> Entry:
        row = await self._fetch(_MEMBER, tenant_id, member_id, issued_at)
        permissions = self._catalogue.of_role(row["role"])
        return self._entry(row, tenant_id, f"member:{member_id}", permissions)

    async def _fetch(
        self, statement: Statement, tenant_id: UUID, id: UUID, issued_at: int | None
    ) -> Mapping[str, Any]:
        finder = Principal(tenant_id=tenant_id, actor="system:resolver", statement_timeout_ms=5_000)
        with context.acting_as(finder):
            async with Transaction(self._pool, read_only=True, lane=_LOOK_UPS) as work:
                values = {"tenant_id": tenant_id, "id": id, "issued_at": issued_at}
                rows = await work.run(statement, values)
                await work.commit()
        if not rows:
            raise Unauthenticated
        row: Mapping[str, Any] = rows[0]
        return row

    def _entry(
        self, row: Mapping[str, Any], tenant_id: UUID, actor: str, permissions: frozenset[str]
    ) -> Entry:
        if row["tenant_status"] in ("deleting", "deleted"):
            # Dead like a revoked one, from the offboarding on and after the purge alike.
            raise Unauthenticated
        if row["tenant_status"] != "active":
            raise TenantSuspended
        limits = limits_of(row["limits"], row["limit_overrides"])
        principal = Principal(
            tenant_id=tenant_id,
            actor=actor,
            permissions=permissions,
            statement_timeout_ms=limits.statement_timeout_ms or self._statement_timeout_ms,
            limits=limits,
        )
        return Entry(principal, str(tenant_id), row["slug"])

    def _narrowed(self, entry: Entry, claims: Claims) -> Entry:
        """A token may carry less than its subject holds, never more."""
        allowed = entry.principal.permissions
        if claims.role is not None:
            allowed &= self._catalogue.of_role(claims.role)
        if claims.permissions is not None:
            allowed &= claims.permissions
        narrowed = msgspec.structs.replace(entry.principal, permissions=allowed)
        return msgspec.structs.replace(entry, principal=narrowed)


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
    statement: Executable = _with_tenant(
        select(_keys.c.secret_hash, _keys.c.role, _keys.c.permissions, _keys.c.expires_at),
        _keys.c.tenant_id,
    ).where(
        tenant_predicate(_keys),
        _keys.c.id == bindparam("id"),
        _keys.c.deleted_at.is_(None),
        _keys.c.revoked_at.is_(None),
        _keys.c.expires_at.is_(None) | (_keys.c.expires_at > func.now()),
    )
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


_KEY = Statement(_key_statement())
_MEMBER = Statement(_member_statement())
