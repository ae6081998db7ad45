"""What one tenant may use at most: the limits of its plan, overlaid by its own."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

_Rate = Annotated[int, Meta(ge=1, le=1_000_000)]
# What every reader of JSON takes for an exact integer (RFC 8259, 6).
MOST = 2**53 - 1
_Count = Annotated[int, Meta(ge=1, le=MOST)]
METER_PATTERN = "^[a-z][a-z0-9_]{0,39}$"
# The look-ahead: Python's $ also matches before a last newline.
MeterName = Annotated[
    str,
    Meta(
        pattern=METER_PATTERN + r"(?!\n)",
        description="Small letters, digits and underscores, at most 40, a letter first.",
    ),
]
_Meters = Annotated[dict[MeterName, _Count], Meta(max_length=100)]
# Below the time after which a connection counts as lost (`db/pool.py`).
_Milliseconds = Annotated[int, Meta(ge=1, le=50_000)]
_Days = Annotated[int, Meta(ge=1, le=36_500)]


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All limits that there are; None is no limit. docs/limits.md says what each one holds."""

    requests_per_second: _Rate | None = None
    members: _Count | None = None
    rows: _Count | None = None
    storage_bytes: _Count | None = None
    import_bytes: _Count | None = None
    statement_timeout_ms: _Milliseconds | None = None
    usage_minutes_days: _Days | None = None
    usage_hours_days: _Days | None = None
    usage_days_days: _Days | None = None
    meters: _Meters | None = None


class LimitOverrides(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Some limits in place of others: null lifts one, an absent one stays as it is. Those of the
    meters are one limit: given anew, all of them are."""

    requests_per_second: _Rate | UnsetType | None = UNSET
    members: _Count | UnsetType | None = UNSET
    rows: _Count | UnsetType | None = UNSET
    storage_bytes: _Count | UnsetType | None = UNSET
    import_bytes: _Count | UnsetType | None = UNSET
    statement_timeout_ms: _Milliseconds | UnsetType | None = UNSET
    usage_minutes_days: _Days | UnsetType | None = UNSET
    usage_hours_days: _Days | UnsetType | None = UNSET
    usage_days_days: _Days | UnsetType | None = UNSET
    meters: _Meters | UnsetType | None = UNSET


NO_LIMITS = Limits()


def stored(overrides: LimitOverrides) -> dict[str, Any]:
    """What `tenants.limit_overrides` holds for them, and what a plan's limits are patched with."""
    values: dict[str, Any] = msgspec.to_builtins(overrides)
    return values


def limits_of(plan: Mapping[str, Any], overrides: Mapping[str, Any] | None) -> Limits:
    """The limits that hold for a tenant, from what is stored of its plan and of itself. Words that
    this version does not know are left alone. Raises msgspec.ValidationError for what no route
    could have stored."""
    given = {**plan, **(overrides or {})}
    known = {name: given[name] for name in Limits.__struct_fields__ if name in given}
    return msgspec.convert(known, Limits)
