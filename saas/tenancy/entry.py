"""What a credential is resolved to."""

from typing import NamedTuple
from uuid import UUID

import msgspec

from saas.auth.tokens import Claims
from saas.context import Principal
from saas.tenancy.access_entry import Access


class UsedKey(NamedTuple):
    """`version` is that of the key's row while the secret that was used was its only one."""

    id: UUID
    version: int


class Entry(msgspec.Struct, frozen=True):
    """A resolved credential: the principal, and the two names by which its tenant is selected.

    `person` holds the claims of our own token of a member, with which the same person enters other
    tenants too; `key` is the key behind the credential, `access` is there where the caller is an
    operator. `is_narrowed`: the token carries less than an owner's would, whosever it is."""

    principal: Principal
    tenant_id: str
    slug: str
    key: UsedKey | None = None
    person: Claims | None = None
    access: Access | None = None
    is_narrowed: bool = False
