"""A tenant as one archive, written while it is read: nothing of it is kept, in memory or on disk.

It is read from one snapshot, on one connection of the app's role that is bound to the tenant, from
cursors; so it is whole however long it takes, and holds nobody's rows but the tenant's.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from saas import context
from saas.context import Principal
from saas.db.database import Database
from saas.db.migrate import head_revision
from saas.db.models import table_of
from saas.db.portable import (
    CANONICAL,
    PortableTable,
    portable_tables,
    select_imports,
    select_lines,
    select_own_row,
    type_of,
)
from saas.db.statements import ShapeCache, Statement
from saas.db.streams import Stream
from saas.db.transaction import Transaction
from saas.errors import NotFound, WrongTenantStatus
from saas.portability.manifest import (
    FORMAT,
    MEMBER,
    ColumnEntry,
    Manifest,
    TableEntry,
    digest_of,
    file_of,
)
from saas.portability.outcome import Progress
from saas.portability.zip_stream import Member, ZipStream
from saas.tenancy.models import Tenant

Write = Callable[[bytes], Awaitable[None]]

# A share of the pool of their own: they hold connections for minutes, which the tenant needs.
_LANE = "exports"
# Longer than a slow reader is waited for: in between, the transaction stands idle.
_PATIENCE = "SET LOCAL idle_in_transaction_session_timeout = '180s'"
_ROWS = 500
# Each FETCH is a statement of its own, so this bounds a batch of rows and never the whole export.
_STATEMENT_TIMEOUT_MS = 55_000
_shapes = ShapeCache()


async def export_tenant(
    database: Database,
    tenant_id: UUID,
    *,
    actor: str,
    write: Write,
    progress: Progress = lambda _table, _rows: None,
) -> Manifest:
    """Write the archive of a tenant through `write`, in pieces, and give its manifest. Raises
    NotFound and WrongTenantStatus before the first piece; what is raised later leaves an archive
    without its end, which no import takes."""
    principal = Principal(
        tenant_id=tenant_id, actor=actor, statement_timeout_ms=_STATEMENT_TIMEOUT_MS
    )
    with context.acting_as(principal):
        async with Transaction(database.app, read_only=True, one_snapshot=True, lane=_LANE) as work:
            with ZipStream() as archive:
                manifest = await _Export(work, archive, write, progress).run()
            await work.commit()
    return manifest


def require_exportable(status: str) -> None:
    """Raise WrongTenantStatus for a tenant that goes, or is gone."""
    if status == "deleting":
        raise WrongTenantStatus("This tenant is being deleted: resume it first.", status)
    if status == "deleted":
        raise WrongTenantStatus("This tenant is deleted: nothing of it is left to export.", status)


class _Export:
    def __init__(
        self, work: Transaction, archive: ZipStream, write: Write, progress: Progress
    ) -> None:
        self._work = work
        self._zip = archive
        self._write = write
        self._progress = progress

    async def run(self) -> Manifest:
        for setting in (*CANONICAL, _PATIENCE):
            await self._work.fetch(setting)
        tenant = await self._lines(_TENANT)
        if not tenant:
            raise NotFound
        own = msgspec.json.decode(tenant[0])
        # In the snapshot itself: a tenant that is suspended or active there has all of its rows.
        require_exportable(own["status"])
        tables = [await self._table(portable) for portable in portable_tables()]
        manifest = Manifest(
            format=FORMAT,
            schema_revision=head_revision(),
            exported_at=datetime.now(UTC),
            tenant=own,
            tables=tables,
            imports=[msgspec.json.decode(line) for line in await self._lines(_IMPORTS)],
            digest=digest_of(tables),
        )
        await self._end(manifest)
        return manifest

    async def _table(self, portable: PortableTable) -> TableEntry:
        member = self._zip.member(file_of(portable.name))
        stream = Stream(portable.name, ("line",), self._work.next_stream())
        await self._run(stream, "declare", lambda: stream.declare(select_lines(portable)))
        rows = 0
        while lines := await self._run(stream, "fetch", lambda: stream.fetch(_ROWS)):
            # In a thread, because to deflate takes longer than others may be made to wait.
            await asyncio.to_thread(_add, member, lines)
            rows += len(lines)
            self._progress(portable.name, len(lines))
            await self._write_ready()
        await self._run(stream, "close", stream.close)
        await asyncio.to_thread(member.close)
        return TableEntry(
            name=portable.name,
            file=file_of(portable.name),
            columns=[ColumnEntry(str(column.name), type_of(column)) for column in portable.columns],
            rows=rows,
            bytes=member.size,
            sha256=member.sha256,
        )

    async def _end(self, manifest: Manifest) -> None:
        member = self._zip.member(MEMBER)
        member.add(msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
        member.close()
        self._zip.end()
        await self._write_ready()

    async def _write_ready(self) -> None:
        if ready := self._zip.take():
            await self._write(ready)

    async def _run(self, stream: Stream, step: str, build: Callable[[], Any]) -> list[str]:
        statement = _shapes.get((stream.name, step), build)
        rows = await self._work.run(statement, {"tenant_id": context.principal().tenant_id})
        return [row[0] for row in rows]

    async def _lines(self, statement: Statement) -> list[str]:
        rows = await self._work.run(statement, {"tenant_id": context.principal().tenant_id})
        return [row["line"] for row in rows]


def _add(member: Member, lines: list[str]) -> None:
    member.add("\n".join([*lines, ""]).encode())


_TENANT = Statement(select_own_row(table_of(Tenant)))
_IMPORTS = Statement(select_imports())
