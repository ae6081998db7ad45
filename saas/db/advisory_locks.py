"""Advisory locks, which hold until the transaction ends. Two things with one number would only wait
for each other without need; those of tenants have the tenant in theirs, or one would learn what
another does."""

import hashlib

from sqlalchemy import bindparam, func, select

from saas.db.statements import Statement

TAKE_LOCK = Statement(select(func.pg_advisory_xact_lock(bindparam("number"))))


def lock_number(*parts: bytes) -> int:
    return int.from_bytes(hashlib.sha256(b"".join(parts)).digest()[:8], signed=True)
