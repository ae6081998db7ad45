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

from saas import context
from saas.auth.keys import ACCESS_SCHEME, ParsedKey, matches, parse_api_key
from saas.auth.permissions import PermissionCatalogue
from saas.auth.tokens import Claims
from saas.context import Principal
from saas.db.lanes import LOOK_UPS
from saas.db.statements import Statement
from saas.db.transaction import Transaction
from saas.errors import NotFound, TenantSuspended, Unauthenticated
from saas.limits import limits_of
from saas.tenancy.access_entry import ACCESS, Access, principal_of_access
from saas.tenancy.authority import key_permissions, outgoing_permissions
from saas.tenancy.credential_rows import KEY, MEMBER
from saas.tenancy.entry import Entry, UsedKey
from saas.tenancy.key_secrets import TokenOfKey, is_of_present_secret
from saas.tenancy.key_uses import KeyUses
from saas.tenancy.memberships import PersonDirectory
from saas.tenancy.tenant_tokens import TenantTokens

# A token's subject is `key:<id>` or a member's id.
_KEY_SUBJECT = "key:"


class Resolver:
    """Resolves tenants' credentials; one per process."""

    def __init__(
        self,
        tokens: TenantTokens,
        catalogue: PermissionCatalogue,
        uses: KeyUses,
        *,
        cache_seconds: float,
        statement_timeout_ms: int,
        most_remembered: int = 50_000,
    ) -> None:
        self._pool = tokens.database.app
        self._tokens = tokens
        self._catalogue = catalogue
        self._directory = PersonDirectory(tokens.database)
        self._uses = uses
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
            entry, expires_at = await self.look_up(credential)
            # Never past the credential's own end.
            until = now + min(self.cache_seconds, expires_at - time.time())
            self._remember(digest, until, entry)
        else:
            until, entry = found
        if entry.key is not None:
            self._uses.note(entry.principal.tenant_id, entry.key.id)
        if selected and selected not in ([entry.tenant_id], [entry.slug]):
            return await self._elsewhere(digest, entry, until, selected)
        return entry

    async def look_up(self, credential: str) -> tuple[Entry, float]:
        """The entry as it is now, not as it is remembered, and the Unix time at which the
        credential itself ends. Raises Unauthenticated and TenantSuspended."""
        if credential.startswith("sk_"):
            key = parse_api_key(credential)
            if key is None:
                raise Unauthenticated
            return await self._of_key(key.tenant_id, key.key_id, key)
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
            proof = TokenOfKey(claims.issued_at, claims.key_version)
            entry, expires_at = await self._of_key(tenant_id, subject, proof)
        else:
            entry = await self._of_member(tenant_id, subject, claims.issued_at)
            expires_at = math.inf
            if self._tokens.is_own(credential):
                entry = msgspec.structs.replace(entry, person=claims)
        return self._narrowed(entry, claims), min(expires_at, claims.expires_at)

    async def _elsewhere(
        self, digest: bytes, home: Entry, until: float, selected: list[str]
    ) -> Entry:
        """The entry of the same person in another tenant, remembered no longer than `home` is.
        Disagreeing, repeated, malformed and foreign names are all as if there were no such
        tenant: NotFound."""
        claims = home.person
        if claims is None or len(selected) != 1:
            raise NotFound
        # Never the digest alone, which is home: a header may be empty.
        name = digest + b":" + selected[0].encode()
        found = self._remembered.get(name)
        if found is not None and found[0] > time.monotonic():
            return found[1]
        member = await self._directory.find(
            home.principal.tenant_id, UUID(claims.subject), selected[0]
        )
        if member is None:
            raise NotFound
        try:
            entry = await self._of_member(member.tenant_id, member.member_id, claims.issued_at)
        except Unauthenticated:
            # Suspended there, its tokens ended, or the tenant on its way out.
            raise NotFound from None
        entry = msgspec.structs.replace(self._narrowed(entry, claims), person=claims)
        self._remember(name, until, entry)
        return entry

    def _remember(self, digest: bytes, until: float, entry: Entry) -> None:
        if len(self._remembered) >= self._most_remembered:
            self._remembered.clear()
        self._remembered[digest] = (until, entry)

    async def _of_key(
        self, tenant_id: UUID, key_id: UUID, proof: ParsedKey | TokenOfKey
    ) -> tuple[Entry, float]:
        """`proof` is the key itself, or what says of a token that it was exchanged for one."""
        issued_at = proof.issued_at if isinstance(proof, TokenOfKey) else None
        row = await self._fetch(KEY, tenant_id, key_id, issued_at)
        ends, version = [row["expires_at"]], row["version"]
        if is_of_present_secret(row, proof):
            permissions = key_permissions(self._catalogue, row)
        else:
            # Of the secret before: good, and remembered, to the end of the overlap.
            ends.append(row["overlaps_until"])
            version -= 1
            permissions = await self._of_secret_before(tenant_id, row)
        entry = self._entry(row, tenant_id, f"key:{key_id}", permissions)
        entry = msgspec.structs.replace(entry, key=UsedKey(key_id, version))
        return entry, min((end.timestamp() for end in ends if end), default=math.inf)

    async def _of_secret_before(self, tenant_id: UUID, row: Mapping[str, Any]) -> frozenset[str]:
        member_id = row["previous_member_id"]
        if member_id == row["member_id"]:
            return key_permissions(self._catalogue, row)
        role = None
        if member_id is not None:
            role = (await self._fetch(MEMBER, tenant_id, member_id, None))["role"]
        return outgoing_permissions(self._catalogue, row, role)

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
        entry = Entry(principal, str(tenant_id), row["slug"], access=access)
        return entry, row["expires_at"].timestamp()

    async def _of_member(self, tenant_id: UUID, member_id: UUID, issued_at: int) -> Entry:
        row = await self._fetch(MEMBER, tenant_id, member_id, issued_at)
        permissions = self._catalogue.of_role(row["role"])
        return self._entry(row, tenant_id, f"member:{member_id}", permissions)

    async def _fetch(
        self, statement: Statement, tenant_id: UUID, id: UUID, issued_at: int | None
    ) -> Mapping[str, Any]:
        finder = Principal(tenant_id=tenant_id, actor="system:resolver", statement_timeout_ms=5_000)
        with context.acting_as(finder):
            async with Transaction(self._pool, read_only=True, lane=LOOK_UPS) as work:
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
        carried = self._catalogue.all
        if claims.role is not None:
            carried &= self._catalogue.of_role(claims.role)
        if claims.permissions is not None:
            carried &= claims.permissions
        permissions = entry.principal.permissions & carried
        principal = msgspec.structs.replace(entry.principal, permissions=permissions)
        # Told by the token alone: what takes nothing from a viewer here may take much from the
        # same person as the owner of another tenant.
        is_narrowed = carried != self._catalogue.all
        return msgspec.structs.replace(entry, principal=principal, is_narrowed=is_narrowed)
