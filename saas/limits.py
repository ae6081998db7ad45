"""How much a tenant may use: the limits of a plan, and those that a tenant has instead."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

_Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_Rate = Annotated[int, Meta(ge=1, le=2**31 - 1)]


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Null means no limit. One that is absent is not spoken of: where these are a tenant's own,
    the plan's holds."""

    requests_per_second: _Rate | UnsetType | None = UNSET
    members: _Count | UnsetType | None = UNSET
    rows: _Count | UnsetType | None = UNSET
    storage_bytes: _Count | UnsetType | None = UNSET
    import_bytes: _Count | UnsetType | None = UNSET
    statement_timeout_ms: _Rate | UnsetType | None = UNSET
