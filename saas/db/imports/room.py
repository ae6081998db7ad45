"""How much a tenant may have here of files that are not imported yet. They are no rows, so no other
limit holds them: who always breaks off, or sends what has no room, would fill the disk."""

from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Executable,
    TextClause,
    Uuid,
    and_,
    any_,
    bindparam,
    case,
    delete,
    func,
    literal_column,
    select,
    text,
    update,
)

from saas import context
from saas.db.advisory_locks import TAKE_LOCK, lock_number
from saas.db.imports.tables import SILENT_SECONDS, Import, ImportChunk
from saas.db.models import table_of
from saas.db.repository import perform
from saas.db.row_operations import run
from saas.db.statements import Statement, tenant_predicate
from saas.errors import TooManyAtOnce

MOST_FILES = 10
"""Of the largest size that the tenant may send, or more that are smaller."""
# A file of unknown length counts for so much as long as it comes, or for what has come.
_UNKNOWN = 8 * 1024 * 1024
_imports, _chunks = table_of(Import), table_of(ImportChunk)
# Time enough for somebody to send the rest of a file, or to make room for its rows.
_ABANDONED = text("interval '7 days'")
# The same where the room is needed.
_BROKEN_OFF = text("interval '1 hour'")
# As long as a file is known by its digest, and what was refused of it can be read.
_OLD = text("interval '90 days'")
# Each with up to 100,000 refused rows; the upload that finds them waits.
_OLD_AT_ONCE = 2
_FORGOTTEN = "Nobody went on with it for a week, so its file is gone. Send it again."


class TooManyFiles(TooManyAtOnce):
    """The files that are not imported yet are as many bytes as one tenant may have here."""

    detail = (
        "Too many files of this tenant are not imported yet. Retry when some are, or resume those "
        "that stand still."
    )


async def hold() -> None:
    """Let nobody else of the tenant begin to send a file before the current transaction ends."""
    await _run(TAKE_LOCK, number=lock_number(b"import files", context.principal().tenant_id.bytes))


async def require(size: int | None, *, most: int, besides: UUID | None = None) -> None:
    """To be called under `hold`. Raises TooManyFiles where there is no room for a file of `size`
    bytes, None if that is not known, beside all others of the tenant but `besides`; `most` is how
    large one may be. Those that broke off an hour ago give way."""
    await _forget_abandoned(besides)
    wanted, room = min(most, _UNKNOWN) if size is None else size, MOST_FILES * most
    if await _taken(most, besides) + wanted > room:
        await _run(_FORGET_BROKEN_OFF, besides=besides)
        if await _taken(most, besides) + wanted > room:
            raise TooManyFiles


async def _forget_abandoned(besides: UUID | None) -> None:
    """Files that nobody has gone on with for a week: what has become of their rows stays. And
    imports that ended long ago, with what they refused."""
    await _run(_FORGET_OLD)
    await _run(_FORGET_ABANDONED, besides=besides)
    given_up = [row[0] for row in await _run(_GIVE_UP, detail=_FORGOTTEN)]
    if given_up:
        await _run(_REMOVE_FILES, ids=given_up)


async def _taken(most: int, besides: UUID | None) -> int:
    rows = await _run(_TAKEN, unknown=min(most, _UNKNOWN), besides=besides)
    taken: int = rows[0][0]
    return taken


async def _run(statement: Statement, **values: Any) -> Any:
    return await perform(run(statement, values))


def _counted() -> ColumnElement[Any]:
    """What a file takes: as much of it as there will be, without the pieces that are in."""
    received, whole = _imports.c.bytes_received, _imports.c.bytes_expected
    is_coming = and_(
        _imports.c.status == "receiving",
        whole.is_(None),
        _imports.c.heartbeat_at > func.now() - text(f"interval '{SILENT_SECONDS} seconds'"),
    )
    unknown = func.greatest(received, bindparam("unknown", type_=received.type))
    done = received * _imports.c.next_chunk / func.greatest(_imports.c.chunks, 1)
    return case((is_coming, unknown), else_=func.greatest(received, whole) - done)


def _is_another() -> ColumnElement[bool]:
    return _imports.c.id.is_distinct_from(bindparam("besides", type_=Uuid()))


def _unfinished() -> tuple[ColumnElement[bool], ...]:
    return _imports.c.status != "done", _imports.c.status != "failed"


def _sum() -> Executable:
    return select(func.coalesce(func.sum(_counted()), 0)).where(
        tenant_predicate(_imports),
        *_unfinished(),
        _is_another(),
    )


def _forget_parts(age: TextClause) -> Executable:
    """Of files that are not here as a whole."""
    return delete(_imports).where(
        tenant_predicate(_imports),
        _is_another(),
        _imports.c.digest.is_(None),
        _imports.c.heartbeat_at < func.now() - age,
    )


def _forget_old() -> Executable:
    old = select(_imports.c.id).where(
        tenant_predicate(_imports), _imports.c.finished_at < func.now() - _OLD
    )
    oldest = old.order_by(_imports.c.finished_at).limit(literal_column(str(_OLD_AT_ONCE)))
    return delete(_imports).where(tenant_predicate(_imports), _imports.c.id.in_(oldest))


def _give_up() -> Executable:
    ended = update(_imports).where(
        tenant_predicate(_imports),
        _imports.c.digest.is_not(None),
        *_unfinished(),
        _imports.c.heartbeat_at < func.now() - _ABANDONED,
    )
    ended = ended.values(status="failed", detail=bindparam("detail"), finished_at=func.now())
    return ended.returning(_imports.c.id)


def _remove_files() -> Executable:
    theirs = _chunks.c.import_id == any_(bindparam("ids", type_=ARRAY(Uuid())))
    return delete(_chunks).where(tenant_predicate(_chunks), theirs)


_TAKEN, _GIVE_UP, _REMOVE_FILES, _FORGET_OLD = (
    Statement(make()) for make in (_sum, _give_up, _remove_files, _forget_old)
)
_FORGET_ABANDONED, _FORGET_BROKEN_OFF = (
    Statement(_forget_parts(age)) for age in (_ABANDONED, _BROKEN_OFF)
)
