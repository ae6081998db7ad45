"""What a purge writes down of itself, in the tenant's own row, and at last in the certificate. All
of it in the current transaction of the platform, bound to the tenant."""

from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import bindparam, func, insert, literal_column, null, select, update
from sqlalchemy.dialects.postgresql import JSONB

from saas.db.models import table_of
from saas.db.statements import Statement
from saas.db.transaction import current_transaction
from saas.errors import NotFound, WrongTenantStatus
from saas.tenancy.deletion import (
    Certificate,
    Deletion,
    DeletionDocument,
    TableDeletion,
    digest_of,
)
from saas.tenancy.models import DeletionCertificate, Tenant


class Purged(msgspec.Struct, frozen=True):
    """A tenant that is to be purged now; `at` is the present time."""

    slug: str
    purge_at: datetime
    deletion: Deletion
    at: datetime


async def locked(tenant_id: UUID) -> Purged | None:
    """The tenant, locked against a resume; None where it has been purged. Raises NotFound, and
    WrongTenantStatus where it is not offboarded or in its grace period."""
    rows = await current_transaction().run(_STATE, {"id": tenant_id})
    if not rows:
        raise NotFound
    row = dict(rows[0])
    status = row.pop("status")
    if status == "deleted":
        return None
    if status != "deleting" or None in row.values():
        raise WrongTenantStatus("This tenant is not offboarded.", status)
    purged = msgspec.convert(row, Purged)
    if purged.purge_at > purged.at:
        end = f"{purged.purge_at:%Y-%m-%d %H:%M:%S} UTC"
        raise WrongTenantStatus(f"The grace period of this tenant ends at {end}.", status)
    return purged


async def start(tenant_id: UUID) -> None:
    """Mark the beginning, after which there is no way back."""
    await current_transaction().run(_START, {"id": tenant_id})


async def keep_counts(tenant_id: UUID, held: dict[str, int]) -> None:
    await current_transaction().run(_COUNTED, {"id": tenant_id, "rows": {"rows": held}})


async def bury(tenant_id: UUID, actor: str) -> None:
    """Leave of the tenant's row what keeps its slug and id from being given again."""
    await current_transaction().run(_BURY, {"id": tenant_id, "actor": actor})


async def issue(tenant_id: UUID, purged: Purged, left: dict[str, int]) -> Certificate:
    """The certificate, stored."""
    deletion = purged.deletion
    names = sorted(deletion.rows.keys() | left.keys())
    document = DeletionDocument(
        tenant_id=tenant_id,
        slug=purged.slug,
        requested_by=deletion.requested_by,
        requested_at=deletion.requested_at,
        purge_at=purged.purge_at,
        started_at=deletion.started_at or purged.at,
        finished_at=purged.at,
        tables={n: TableDeletion(deletion.rows.get(n, 0), left.get(n, 0)) for n in names},
    )
    certificate = Certificate(document, digest_of(document))
    values = {"id": tenant_id, "slug": purged.slug, "digest": certificate.digest}
    kept = {"document": msgspec.to_builtins(document), **values}
    await current_transaction().run(_ISSUE, kept)
    return certificate


_tenants, _certificates = table_of(Tenant), table_of(DeletionCertificate)
_by_id = update(_tenants).where(_tenants.c.id == bindparam("id"))
_STATE = Statement(
    select(
        _tenants.c.status,
        _tenants.c.slug,
        _tenants.c.purge_at,
        _tenants.c.deletion,
        func.clock_timestamp().label("at"),
    )
    .where(_tenants.c.id == bindparam("id"))
    .with_for_update()
)
_START = Statement(
    _by_id.values(
        deletion=_tenants.c.deletion.op("||")(
            func.jsonb_build_object(literal_column("'started_at'"), func.now())
        )
    )
)
_COUNTED = Statement(
    _by_id.values(deletion=_tenants.c.deletion.op("||")(bindparam("rows", type_=JSONB)))
)
_BURY = Statement(
    _by_id.values(
        status="deleted",
        name="",
        limit_overrides=null(),
        deletion=null(),
        version=_tenants.c.version + 1,
        updated_at=func.now(),
        updated_by=bindparam("actor"),
    )
)
_ISSUE = Statement(
    insert(_certificates).values(
        {
            name: bindparam(name, type_=_certificates.c[name].type)
            for name in ("id", "slug", "document", "digest")
        }
    )
)
