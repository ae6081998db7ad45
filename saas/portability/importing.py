"""An archive becomes a tenant: a new one as a whole, or one that is here takes its rows in."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from sqlalchemy import bindparam, select
from uuid_utils.compat import uuid7

from saas.db.database import Database
from saas.db.models import table_of
from saas.db.statements import Statement
from saas.db.transaction import current_transaction
from saas.errors import (
    AlreadyExists,
    BadRequest,
    FieldError,
    Invalid,
    InvalidArchive,
    NotFound,
)
from saas.limits import LimitOverrides
from saas.portability.fitting import fitted_tables
from saas.portability.manifest import MEMBER, Manifest
from saas.portability.merging import Merge, require_open
from saas.portability.new_ids import NewIds
from saas.portability.opened import OpenArchive
from saas.portability.outcome import Imported, Progress, Wish
from saas.portability.restoring import Restore
from saas.tenancy.directory import TenantRead, tenant_by_id, tenant_by_slug
from saas.tenancy.models import Plan
from saas.tenancy.onboarding import Slug

_Time = Annotated[datetime, msgspec.Meta(tz=True)]
_plans = table_of(Plan)
_PLAN = Statement(select(_plans.c.slug).where(_plans.c.slug == bindparam("plan")))


class SourceTenant(msgspec.Struct, frozen=True):
    """Of the tenant's row in the archive, what is looked at here; the other columns are read by
    PostgreSQL alone."""

    id: UUID
    slug: Slug
    plan: str
    status: Literal["active", "suspended"]
    limit_overrides: LimitOverrides | None = None
    created_at: _Time | None = None
    updated_at: _Time | None = None
    tokens_valid_from: _Time | None = None


async def import_tenant(
    database: Database,
    archive: OpenArchive,
    wish: Wish,
    *,
    actor: str,
    progress: Progress = lambda _step, _rows: None,
) -> Imported:
    """Import in the current transaction, on the platform's connection; into a tenant that is here,
    in one of the app's role. All or nothing. Raises InvalidArchive for what the archive holds,
    AlreadyExists for a tenant or slug that is here, WrongTenantStatus for one that is being
    deleted, Invalid for an unknown plan, QuotaExceeded."""
    source = _source_of(archive.manifest)
    tables = fitted_tables(archive.manifest)
    here = None if wish.ids == "new" else await _found(source.id)
    if here is not None:
        _check_may_merge(here, wish)
        return await Merge(database, archive, tables, here, progress).run(wish, actor=actor)
    slug, plan = wish.slug or source.slug, wish.plan or source.plan
    await _check_names(slug, plan)
    tenant_id = uuid7() if wish.ids == "new" else source.id
    row = {
        **archive.manifest.tenant,
        "id": tenant_id,
        "slug": slug,
        "plan": plan,
        # Whoever names the plan names the limits.
        "limit_overrides": None if wish.plan else archive.manifest.tenant.get("limit_overrides"),
    }
    new_ids = NewIds(source.id, tenant_id) if wish.ids == "new" else None
    restore = Restore(archive, tables, row, new_ids, progress)
    if not wish.dry_run:
        return await restore.run(wish, actor=actor)
    async with current_transaction().trial():
        done = await restore.run(wish, actor=actor)
    return done


def _source_of(manifest: Manifest) -> SourceTenant:
    try:
        return msgspec.convert(manifest.tenant, SourceTenant)
    except msgspec.ValidationError as fault:
        raise InvalidArchive(f"{MEMBER}: tenant: {fault}.") from None


async def _found(tenant_id: UUID) -> TenantRead | None:
    try:
        return await tenant_by_id(tenant_id)
    except NotFound:
        return None


def _check_may_merge(here: TenantRead, wish: Wish) -> None:
    require_open(here.status)
    if wish.on_conflict == "error":
        raise AlreadyExists(
            "This tenant is here already: choose on_conflict=skip or update, or ids=new."
        )
    if wish.slug or wish.plan:
        raise BadRequest("slug and plan are for a new tenant; this one is here and keeps its own.")


async def _check_names(slug: str, plan: str) -> None:
    """Early, and for the words; the database refuses the same."""
    if not await current_transaction().run(_PLAN, {"plan": plan}):
        unknown = FieldError("/plan", "unknown_reference", "There is no such plan.")
        raise Invalid("This plan is not known here: name one that is.", errors=[unknown])
    try:
        await tenant_by_slug(slug)
    except NotFound:
        return
    taken = FieldError("/slug", "taken", "Taken.")
    raise AlreadyExists(
        "A tenant with this slug exists already: give another one with slug=.", errors=[taken]
    )
