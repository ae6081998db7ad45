"""The rows of an import that were refused: kept with the row as it stands in the file, so that it
can be corrected and sent again."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Uuid, bindparam, delete
from uuid_utils.compat import uuid7

from saas.db.bulk_results import RowError
from saas.db.bulk_statements import insert_new
from saas.db.imports.source import ReadRow
from saas.db.imports.tables import ImportErrorRow
from saas.db.imports.text import BAD_BYTES
from saas.db.models import table_of
from saas.db.repository import perform
from saas.db.row_operations import run
from saas.db.statements import Statement, tenant_predicate

_errors = table_of(ImportErrorRow)
_COLUMNS = ("import_id", "line", "column", "value", "code", "reason", "source")
# Of one statement.
_MOST = 1_000
MOST_KEPT = 100_000
"""An import with so many refused rows is given up, but for those of the piece that it is at: a row
of two bytes takes a hundred times as much here, and no limit counts it."""
TOO_MANY = (
    f"{MOST_KEPT:,} rows are refused, so the rest is not read. Correct the file and send it again."
)


async def keep(id: UUID, errors: Sequence[RowError], sources: Mapping[int, ReadRow]) -> None:
    """Keep `errors`, in their order; `sources` has the row that begins at each line."""
    for start in range(0, len(errors), _MOST):
        some = errors[start : start + _MOST]
        values: dict[str, list[Any]] = {
            # Made one after another, so that they count up.
            "c_id": [uuid7() for _ in some],
            "c_import_id": [id for _ in some],
            "c_source": [_encoded(sources[error.line].source) for error in some],
        }
        for name in RowError.__struct_fields__:
            values[f"c_{name}"] = [getattr(error, name) for error in some]
        await perform(run(_KEEP, values))


async def forget(id: UUID) -> None:
    await perform(run(_FORGET, {"id": id}))


def cells_of(source: bytes) -> list[str]:
    """The cells of a kept row of CSV."""
    return msgspec.msgpack.decode(source, type=list[str])


def _encoded(source: list[str] | bytes) -> bytes:
    if isinstance(source, bytes):
        return source
    return msgspec.msgpack.encode([cell.replace(BAD_BYTES, "\ufffd") for cell in source])


_KEEP = Statement(insert_new(_errors, _COLUMNS, ()))
_FORGET = Statement(
    delete(_errors).where(
        tenant_predicate(_errors), _errors.c.import_id == bindparam("id", type_=Uuid())
    )
)
