"""Numbers of advisory locks, which hold until the transaction ends. Two things with one number
would only wait for each other without need."""

import hashlib
from uuid import UUID


def lock_number(kind: str, tenant_id: UUID, name: str) -> int:
    """The lock of the tenant's `name` among locks of this `kind`."""
    digest = hashlib.sha256(kind.encode() + tenant_id.bytes + name.encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
