"""The UPDATEs of a tenant's life. Each changes the tenant only where its present state allows that,
and gives it back as TenantRead; `versioned` ones demand a version too."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    DateTime,
    Interval,
    Text,
    Update,
    and_,
    bindparam,
    cast,
    func,
    literal_column,
    null,
    or_,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB

from saas.db.models import table_of
from saas.tenancy.directory import SHOWN
from saas.tenancy.models import Tenant

OPEN = ("active", "suspended")
"""The statuses of a tenant that is not being deleted."""


def change(names: Iterable[str], *, clears_limits: bool, versioned: bool) -> Update:
    """Set these fields of TenantChanges where that changes something."""
    columns = {name: "limit_overrides" if name == "limits" else name for name in names}
    values = {columns[name]: _given(name, columns[name], clears_limits) for name in columns}
    differs = or_(*(_tenants.c[column].is_distinct_from(values[column]) for column in values))
    return _edited(versioned=versioned).where(_is(*OPEN), differs).values(values)


def suspend(*, versioned: bool) -> Update:
    return _edited(versioned=versioned).where(_is("active")).values(status="suspended")


def resume(*, versioned: bool) -> Update:
    # The clock and not now(): who has waited here for another may be late.
    in_grace = and_(_is("deleting"), _tenants.c.purge_at > _CLOCK)
    edited = _edited(versioned=versioned).where(or_(_is("suspended"), in_grace, _IS_UNDATED))
    return edited.values(status="active", purge_at=None, deletion=null())


def offboard(*, versioned: bool) -> Update:
    """`grace` is how long it waits, `grace_seconds` how long was asked for."""
    requested = {
        "requested_by": bindparam("actor", type_=Text),
        "requested_at": func.now(),
        "grace_seconds": bindparam("grace_seconds", type_=BigInteger),
    }
    members = [part for name, value in requested.items() for part in (name, value)]
    return (
        _edited(versioned=versioned)
        .where(or_(_is(*OPEN), _IS_UNDATED))
        .values(
            status="deleting",
            purge_at=_CLOCK + bindparam("grace", type_=Interval),
            deletion=func.jsonb_build_object(*members),
        )
    )


def _edited(*, versioned: bool) -> Update:
    edited = update(_tenants).where(_tenants.c.id == bindparam("id"))
    if versioned:
        edited = edited.where(_tenants.c.version == bindparam("expected_version"))
    return edited.values(
        version=_tenants.c.version + 1,
        updated_at=func.now(),
        updated_by=bindparam("actor", type_=Text),
    ).returning(*SHOWN)


def _is(*statuses: str) -> ColumnElement[bool]:
    return or_(*(_tenants.c.status == status for status in statuses))


def _given(name: str, column: str, clears_limits: bool) -> ColumnElement[Any]:
    given = bindparam(f"v_{name}", type_=_tenants.c[column].type)
    if name != "limits":
        return given
    if clears_limits:
        return null()
    # In the statement, so that of two changes at once none undoes the other.
    return func.coalesce(_tenants.c.limit_overrides, _NO_LIMITS).op("||")(given)


_tenants = table_of(Tenant)
_NO_LIMITS = cast(literal_column("'{}'"), JSONB)
# As an older version, or an administrator by hand, has left it.
_IS_UNDATED = and_(
    _is("deleting"), or_(_tenants.c.purge_at.is_(None), _tenants.c.deletion.is_(None))
)
_CLOCK = func.clock_timestamp(type_=DateTime(timezone=True))
