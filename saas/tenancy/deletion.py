"""What is kept of a tenant's deletion: how far it is, and in the end the certificate."""

import hashlib
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import bindparam, select

from saas.db.models import table_of
from saas.db.statements import Statement
from saas.db.transaction import current_transaction
from saas.errors import NotFound
from saas.tenancy.models import DeletionCertificate


class Deletion(msgspec.Struct, frozen=True, kw_only=True):
    """A deletion on its way. `rows` were in each table when the purge started."""

    requested_by: str
    requested_at: datetime
    grace_seconds: int
    started_at: datetime | None = None
    rows: dict[str, int] = {}


class TableDeletion(msgspec.Struct, frozen=True):
    deleted: int
    left: int


class DeletionDocument(msgspec.Struct, frozen=True, kw_only=True):
    """`tables` are all that PostgreSQL's catalogue shows with a tenant column. `kept` is what stays
    so that neither id nor slug is given to anybody again."""

    tenant_id: UUID
    slug: str
    requested_by: str
    requested_at: datetime
    purge_at: datetime
    started_at: datetime
    finished_at: datetime
    tables: dict[str, TableDeletion]
    kept: tuple[str, ...] = ("tenants: id, slug, plan, status and times",)


class Certificate(msgspec.Struct, frozen=True):
    """`digest` is the SHA-256 of the document as canonical JSON, in hexadecimal digits."""

    document: DeletionDocument
    digest: str


def canonical(document: DeletionDocument) -> bytes:
    """JSON without spaces, names in the order of their characters, in UTF-8."""
    return msgspec.json.encode(document, order="sorted")


def digest_of(document: DeletionDocument) -> str:
    return hashlib.sha256(canonical(document)).hexdigest()


async def certificate_of(tenant_id: UUID) -> Certificate:
    """In a transaction of the platform. Raises NotFound before the purge has ended."""
    rows = await current_transaction().run(_CERTIFICATE, {"id": tenant_id})
    if not rows:
        raise NotFound
    return _certificate(**rows[0])


def _certificate(document: dict[str, Any], digest: str) -> Certificate:
    return Certificate(msgspec.convert(document, DeletionDocument), digest)


_certificates = table_of(DeletionCertificate)
_CERTIFICATE = Statement(
    select(_certificates.c.document, _certificates.c.digest).where(
        _certificates.c.id == bindparam("id")
    )
)
