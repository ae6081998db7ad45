"""What is asked of an import, and what came of it."""

from collections.abc import Callable
from typing import Literal

import msgspec

from saas.tenancy.directory import TenantRead

Ids = Literal["keep", "new"]
OnConflict = Literal["error", "skip", "update"]
Progress = Callable[[str, int], None]
"""Is told what is at work and how many more rows of it are done."""


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """`on_conflict` says what becomes of a tenant that is here already under the same id; `slug`
    and `plan` take the place of the archive's."""

    ids: Ids = "keep"
    on_conflict: OnConflict = "error"
    dry_run: bool = False
    slug: str | None = None
    plan: str | None = None


class TableOutcome(msgspec.Struct):
    """`rows` are those of the archive: each was inserted, updated or skipped."""

    rows: int
    inserted: int = 0
    updated: int = 0
    skipped: int = 0


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """`verified` is true: what the database then held was counted, and with the same ids compared,
    with the manifest. Anything else is a refusal, and nothing is stored."""

    tenant: TenantRead
    tables: dict[str, TableOutcome]
    verified: bool
    dry_run: bool
