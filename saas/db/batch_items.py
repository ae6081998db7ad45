"""What a batch takes and gives, item by item. What cannot be part of a circle, as an error with its
traceback can, the collector need not look at (gc=False)."""

from typing import Any, Literal, TypeAlias, get_args
from uuid import UUID

import msgspec

from saas.errors import SaasError

Kind = Literal["create", "update", "upsert", "delete", "restore"]
OnConflict = Literal["update", "skip", "error"]
KINDS, CONFLICTS = frozenset(get_args(Kind)), frozenset(get_args(OnConflict))
Status = Literal["created", "updated", "skipped", "deleted", "restored", "failed"]


class BatchItem(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One change. `values` are the fields of a create, update or upsert; an upsert sets of them the
    `given` ones (None: all) in a row that is there. `id` names the row of an update, delete or
    restore; `version`, if given, is the one that it must have."""

    kind: Kind
    id: UUID | None = None
    version: int | None = None
    values: dict[str, Any] = {}
    given: tuple[str, ...] | None = None


class Change(msgspec.Struct, frozen=True, gc=False):
    """What an item did, and to which row."""

    status: Status
    id: UUID | None


Outcome: TypeAlias = Change | SaasError


class BatchResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the item at `index`; `refusal` says why it failed."""

    index: int
    status: Status
    id: UUID | None = None
    refusal: SaasError | None = None
