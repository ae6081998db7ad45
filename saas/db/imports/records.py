"""Imports in their table: begun, received, taken up, brought forward, ended. Each function works in
the current transaction, on imports of the bound tenant."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Executable,
    Select,
    Update,
    Uuid,
    any_,
    bindparam,
    case,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from saas import context
from saas.db.advisory_locks import TAKE_LOCK, lock_number
from saas.db.bulk_results import ImportResult
from saas.db.imports.record import ImportOptions, ImportRecord
from saas.db.imports.tables import Import
from saas.db.models import table_of
from saas.db.repository import perform
from saas.db.row_operations import run
from saas.db.statements import Statement, tenant_predicate
from saas.errors import NotFound

_imports = table_of(Import)


async def begin(
    options: ImportOptions, worker: UUID, *, bytes_expected: int | None, again: bool
) -> UUID:
    """A new import, of whose file nothing is here yet."""
    rows = await _run(
        _BEGIN,
        resource=options.resource,
        source={**msgspec.to_builtins(options.source), "again": again},
        format=options.source.format,
        mode=options.mode,
        on_conflict=options.on_conflict,
        dry_run=options.dry_run,
        worker=worker,
        bytes_expected=bytes_expected,
        started_by=context.principal().actor,
    )
    id: UUID = rows[0][0]
    return id


async def load(id: UUID) -> ImportRecord:
    """The import as it stands, and stays until the end of the transaction. Raises NotFound."""
    rows = await _run(_LOAD, id=id)
    if not rows:
        raise NotFound
    return ImportRecord(**dict(rows[0]))


async def peek(id: UUID) -> ImportRecord:
    """The import as it stands at the moment. Raises NotFound."""
    rows = await _run(_PEEK, id=id)
    if not rows:
        raise NotFound
    return ImportRecord(**dict(rows[0]))


async def change(id: UUID, by: UUID, **values: Any) -> bool:
    """Set columns of the import if the worker `by` may still do so, and say whether it may."""
    statement = _CHANGES.get(tuple(values))
    if statement is None:
        statement = _CHANGES[tuple(values)] = Statement(_changed(*values))
    return bool(await _run(statement, id=id, by=by, **values))


async def add(id: UUID, by: UUID, done: ImportResult, **values: Any) -> bool:
    """The same, and count what became of some rows."""
    counts = {name: getattr(done, name) for name in _COUNTS}
    statement = _ADDITIONS.get(tuple(values))
    if statement is None:
        added = {name: _imports.c[name] + bindparam(name) for name in _COUNTS}
        statement = _ADDITIONS[tuple(values)] = Statement(_changed(*values).values(added))
    return bool(await _run(statement, id=id, by=by, **counts, **values))


async def beat(workers: Sequence[UUID]) -> None:
    """Say that these are at work. An import that is locked has somebody who says so himself."""
    await _run(_BEAT, workers=list(workers))


async def same_as(digest: bytes) -> UUID | None:
    """The latest import of the same file in the same way, unless it has failed. Nobody else of the
    tenant asks for this digest before the transaction ends."""
    await _run(TAKE_LOCK, number=lock_number(context.principal().tenant_id.bytes, digest))
    rows = await _run(_SAME, digest=digest)
    return rows[0][0] if rows else None


async def drop(id: UUID) -> None:
    """Forget the import and what was received of it."""
    await _run(_DROP, id=id)


async def _run(statement: Statement, **values: Any) -> Any:
    return await perform(run(statement, values))


_COUNTS = ("rows_read", "inserted", "updated", "skipped", "failed")


def _one() -> tuple[ColumnElement[bool], ...]:
    return tenant_predicate(_imports), _imports.c.id == bindparam("id", type_=Uuid())


def _begin() -> Executable:
    names = ("resource", "source", "format", "mode", "on_conflict", "dry_run", "worker")
    given = {
        name: bindparam(name, type_=_imports.c[name].type)
        for name in (*names, "bytes_expected", "started_by")
    }
    tenant = bindparam("tenant_id", type_=Uuid())
    return (
        insert(_imports)
        .values(tenant_id=tenant, status="receiving", **given)
        .returning(_imports.c.id)
    )


def _peek() -> Select[Any]:
    chosen = (_imports.c[name] for name in ImportRecord.__struct_fields__)
    return select(*chosen).where(*_one())


def _changed(*names: str) -> Update:
    # The clock and not now(): a transaction may last.
    values: dict[str, Any] = {"heartbeat_at": func.clock_timestamp()}
    values |= {name: bindparam(name, type_=_imports.c[name].type) for name in names}
    if "status" in values:
        ended = or_(values["status"] == "done", values["status"] == "failed")
        values["finished_at"] = case((ended, func.clock_timestamp()))
    own = _imports.c.worker == bindparam("by", type_=Uuid())
    return update(_imports).where(*_one(), own).values(values).returning(_imports.c.id)


def _beat() -> Executable:
    theirs = _imports.c.worker == any_(bindparam("workers", type_=ARRAY(Uuid())))
    free = select(_imports.c.id).where(tenant_predicate(_imports), theirs)
    free = free.with_for_update(key_share=True, skip_locked=True)
    chosen = func.array(free.scalar_subquery(), type_=ARRAY(Uuid))
    return (
        update(_imports)
        .where(tenant_predicate(_imports), _imports.c.id == any_(chosen))
        .values(heartbeat_at=func.clock_timestamp())
    )


def _same() -> Executable:
    found = select(_imports.c.id).where(
        tenant_predicate(_imports),
        _imports.c.digest == bindparam("digest"),
        _imports.c.status != "failed",
    )
    return found.order_by(_imports.c.id.desc()).limit(1)


_BEGIN, _BEAT, _SAME = (Statement(make()) for make in (_begin, _beat, _same))
_PEEK, _LOAD = Statement(_peek()), Statement(_peek().with_for_update(key_share=True))
_DROP = Statement(delete(_imports).where(*_one()))
_CHANGES: dict[tuple[str, ...], Statement] = {}
_ADDITIONS: dict[tuple[str, ...], Statement] = {}
