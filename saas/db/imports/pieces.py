"""The file of an import, kept in pieces as it was sent until its rows are in."""

import hashlib
from typing import Any
from uuid import UUID

from sqlalchemy import Executable, Uuid, bindparam, delete, func, insert, select, update

from saas.db.imports.tables import Import, ImportChunk
from saas.db.models import table_of
from saas.db.repository import perform
from saas.db.row_operations import run
from saas.db.statements import Statement, tenant_predicate
from saas.errors import Conflict

_imports, _chunks = table_of(Import), table_of(ImportChunk)

PIECE_BYTES = 256 * 1024
"""Some thousand rows: what one transaction takes, and what is lost at most of a file that breaks
off."""


async def append(id: UUID, worker: UUID, data: bytes) -> None:
    """Keep one more piece. Raises Conflict where another request sends this file by now."""
    rows = await _run(_COUNT_UP, id=id, by=worker, size=len(data))
    if not rows:
        raise Conflict("Another request goes on with this import.")
    await _run(_APPEND, id=id, number=rows[0][0] - 1, data=data)


async def fetch(id: UUID, number: int) -> bytes:
    rows = await _run(_FETCH, id=id, number=number)
    data: bytes = rows[0][0]
    return data


async def remove(id: UUID, number: int) -> None:
    await _run(_REMOVE, id=id, number=number)


async def remove_all(id: UUID) -> None:
    await _run(_REMOVE_ALL, id=id)


async def digest_of(id: UUID, chunks: int) -> bytes:
    """The SHA-256 of what is here of the file."""
    digest = hashlib.sha256()
    for number in range(chunks):
        digest.update(await fetch(id, number))
    return digest.digest()


async def _run(statement: Statement, **values: Any) -> Any:
    return await perform(run(statement, values))


def _count_up() -> Executable:
    return (
        update(_imports)
        .where(
            tenant_predicate(_imports),
            _imports.c.id == bindparam("id", type_=Uuid()),
            _imports.c.worker == bindparam("by", type_=Uuid()),
            _imports.c.status == "receiving",
        )
        .values(
            chunks=_imports.c.chunks + 1,
            bytes_received=_imports.c.bytes_received + bindparam("size"),
            heartbeat_at=func.now(),
        )
        .returning(_imports.c.chunks)
    )


def _append() -> Executable:
    names = {"tenant_id": "tenant_id", "import_id": "id", "number": "number", "data": "data"}
    given = {c: bindparam(name, type_=_chunks.c[c].type) for c, name in names.items()}
    return insert(_chunks).values(given)


def _own(*, is_one: bool) -> tuple[Any, ...]:
    own = (tenant_predicate(_chunks), _chunks.c.import_id == bindparam("id", type_=Uuid()))
    return (*own, _chunks.c.number == bindparam("number")) if is_one else own


_COUNT_UP, _APPEND = Statement(_count_up()), Statement(_append())
_FETCH = Statement(select(_chunks.c.data).where(*_own(is_one=True)))
_REMOVE = Statement(delete(_chunks).where(*_own(is_one=True)))
_REMOVE_ALL = Statement(delete(_chunks).where(*_own(is_one=False)))
