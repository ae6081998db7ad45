"""The life of a tenant after onboarding: changes by operators, suspension, offboarding and the way
back. Each runs in the current transaction of the platform, bound to the tenant, whose own log tells
of it. What comes after the grace period is in `purge.py`."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType
from sqlalchemy import Executable, bindparam, select

from saas.context import entering
from saas.db.models import table_of
from saas.db.statements import ShapeCache, Statement
from saas.db.transaction import current_transaction
from saas.errors import VersionConflict, WrongTenantStatus
from saas.limits import LimitOverrides
from saas.tenancy import lifecycle_statements as statements
from saas.tenancy.deletion import Deletion
from saas.tenancy.directory import TenantRead, tenant_by_id
from saas.tenancy.fields import Name
from saas.tenancy.lifecycle_statements import OPEN
from saas.tenancy.models import Tenant
from saas.tenancy.onboarding import PlanSlug, telling_of_plans

SETTLING = timedelta(seconds=15)
"""The shortest grace period. When it is over no node begins a transaction for the tenant any more:
a credential is remembered for 5 s, and asked for again where a request was let in longer ago."""


class TenantChanges(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an operator may change. Of `limits` those that are given become the tenant's own; null
    gives up all of them for the plan's."""

    name: Name | UnsetType = UNSET
    plan: PlanSlug | UnsetType = UNSET
    limits: LimitOverrides | UnsetType | None = UNSET


class Grace(msgspec.Struct, frozen=True):
    """How long an offboarding can be undone: what was asked for, if anything, else `default`."""

    default: timedelta
    asked: timedelta | None = None

    @property
    def length(self) -> timedelta:
        return self.default if self.asked is None else self.asked


async def change(
    tenant_id: UUID, changes: TenantChanges, *, actor: str, version: int | None = None
) -> TenantRead:
    """The tenant as it is then; one that has it all already keeps its version. Raises NotFound,
    VersionConflict, Invalid for an unknown plan, WrongTenantStatus for one that is deleted."""
    fields = ((name, getattr(changes, name)) for name in TenantChanges.__struct_fields__)
    values = {name: msgspec.to_builtins(value) for name, value in fields if value is not UNSET}
    edit = _Edit(tenant_id, actor, version)
    clears = "limits" in values and values["limits"] is None
    present = await edit.run(
        ("change", *values, clears),
        lambda: statements.change(values, clears_limits=clears, versioned=version is not None),
        {f"v_{name}": value for name, value in values.items()},
        is_empty=not values,
    )
    _require(present, *OPEN)
    return present


async def suspend(tenant_id: UUID, *, actor: str, version: int | None = None) -> TenantRead:
    """Lock its members out, everywhere within 5 s. One that is suspended stays as it is. Raises
    NotFound, VersionConflict, WrongTenantStatus."""
    edit = _Edit(tenant_id, actor, version)
    present = await edit.run(
        ("suspend",), lambda: statements.suspend(versioned=version is not None), {}
    )
    _require(present, "suspended")
    return present


async def resume(tenant_id: UUID, *, actor: str, version: int | None = None) -> TenantRead:
    """Let its members in again, also after an offboarding whose grace period is not over. One that
    is active stays as it is. Raises NotFound, VersionConflict, WrongTenantStatus."""
    edit = _Edit(tenant_id, actor, version)
    present = await edit.run(
        ("resume",), lambda: statements.resume(versioned=version is not None), {}
    )
    if present.status == "deleting":
        raise WrongTenantStatus("The grace period is over; it cannot be undone.", present.status)
    _require(present, "active")
    return present


async def offboard(
    tenant_id: UUID, grace: Grace, *, actor: str, version: int | None = None
) -> TenantRead:
    """Lock its members out, and have its rows purged once the grace period is over, which lasts
    SETTLING at least. One that is on its way stays as it is. Raises NotFound, VersionConflict,
    WrongTenantStatus, also where another grace period is asked for than the one that runs."""
    edit = _Edit(tenant_id, actor, version)
    seconds = int(grace.length.total_seconds())
    present = await edit.run(
        ("offboard",),
        lambda: statements.offboard(versioned=version is not None),
        {"grace": max(grace.length, SETTLING), "grace_seconds": seconds},
    )
    if present.status == "deleting" and grace.asked is not None:
        rows = await current_transaction().run(_DELETION, {"id": tenant_id})
        if msgspec.convert(rows[0]["deletion"], Deletion).grace_seconds != seconds:
            detail = "Another grace period is running already: resume the tenant first."
            raise WrongTenantStatus(detail, present.status)
    _require(present, "deleting")
    return present


class _Edit:
    """One change of one tenant."""

    def __init__(self, tenant_id: UUID, actor: str, version: int | None) -> None:
        self._tenant_id, self._actor, self._version = tenant_id, actor, version

    async def run(
        self,
        shape: tuple[Any, ...],
        build: Callable[[], Executable],
        values: dict[str, Any],
        *,
        is_empty: bool = False,
    ) -> TenantRead:
        """The tenant as it is then, changed or not. Raises NotFound, VersionConflict."""
        values |= {"id": self._tenant_id, "actor": self._actor, "expected_version": self._version}
        with entering(self._tenant_id, self._actor):
            if not is_empty:
                statement = _shapes.get((*shape, self._version is None), build)
                with telling_of_plans():
                    rows = await current_transaction().run(statement, values)
                if rows:
                    return TenantRead(*rows[0])
            present = await tenant_by_id(self._tenant_id)
        if self._version is not None and present.version != self._version:
            raise VersionConflict(present.version)
        return present


def _require(present: TenantRead, *statuses: str) -> None:
    if present.status in statuses:
        return
    detail = "This tenant is deleted for good."
    if present.status == "deleting":
        detail = "This tenant is being deleted; it can be resumed while its grace period lasts."
    raise WrongTenantStatus(detail, present.status)


_tenants = table_of(Tenant)
_DELETION = Statement(select(_tenants.c.deletion).where(_tenants.c.id == bindparam("id")))
_shapes = ShapeCache()
