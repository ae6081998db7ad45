"""A new tenant from an archive, in one transaction of the platform's role: its row, the directory
of its members, all of its rows and its audit log, as they were; and the proof that they are."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import ARRAY, Uuid, bindparam, func, insert, select

from saas import context
from saas.context import Principal
from saas.db.models import table_of
from saas.db.portable import AUDIT_LOG, CANONICAL, insert_own_row
from saas.db.restore_functions import IMPORTED
from saas.db.statements import Statement
from saas.db.transaction import Transaction, current_transaction
from saas.errors import AlreadyExists, Conflict, InvalidArchive, SaasError
from saas.portability.fitting import Fitted
from saas.portability.manifest import MEMBER
from saas.portability.new_ids import NewIds, changes_of
from saas.portability.opened import OpenArchive
from saas.portability.outcome import Imported, Progress, TableOutcome, Wish
from saas.portability.proof import prove
from saas.portability.rows import NULL, Batch, Row, batch_of, batches
from saas.tenancy.directory import tenant_by_id
from saas.tenancy.models import Member, Membership, Tenant
from saas.usage.restored import count_restored

_STATEMENT_TIMEOUT_MS = 55_000
_BEGIN = "SELECT public.begin_import($1)"
_RESTORE = "SELECT public.restore_rows($1, $2, $3)"
_MEMBERS = Member.__tablename__
_OWNER, _ACTIVE = msgspec.Raw(b'"owner"'), msgspec.Raw(b'"active"')
_memberships, _tenants = table_of(Membership), table_of(Tenant)


class Restore:
    """`row` is the row that the tenant shall have, `new_ids` what becomes of the archive's ids."""

    def __init__(
        self,
        archive: OpenArchive,
        tables: Sequence[Fitted],
        row: dict[str, Any],
        new_ids: NewIds | None,
        progress: Progress,
    ) -> None:
        self._archive = archive
        self._tables = tables
        self._row = row
        self._new_ids = new_ids
        self._progress = progress
        self._has_owner = False

    async def run(self, wish: Wish, *, actor: str) -> Imported:
        """In the current transaction of the platform. Raises InvalidArchive, AlreadyExists."""
        principal = Principal(
            tenant_id=self._row["id"], actor=actor, statement_timeout_ms=_STATEMENT_TIMEOUT_MS
        )
        work = current_transaction()
        with context.acting_as(principal, context.origin()):
            for setting in CANONICAL:
                await work.fetch(setting)
            await self._begin(work)
            await self._insert_tenant(work)
            # A row may refer to one that comes after it in its own table.
            await work.fetch("SET CONSTRAINTS ALL DEFERRED")
            done = {one.entry.name: await self._table(work, one) for one in self._tables}
            await self._restore(work, AUDIT_LOG.name, self._earlier_imports())
            await work.fetch("SET CONSTRAINTS ALL IMMEDIATE")
            for fitted in self._tables:
                if not done[fitted.entry.name].skipped:
                    await prove(fitted, same_ids=self._new_ids is None, progress=self._progress)
            await count_restored()
            if not self._has_owner:
                raise InvalidArchive(f"{_MEMBERS}.jsonl: nobody is an active owner of the tenant.")
            tenant = await tenant_by_id(self._row["id"])
        return Imported(tenant=tenant, tables=done, verified=True, dry_run=wish.dry_run)

    async def _begin(self, work: Transaction) -> None:
        try:
            await work.fetch(_BEGIN, [self._origin()])
        except AlreadyExists:
            raise Conflict(
                "The audit log of this tenant has entries here already, so it cannot come back as "
                "it was: repeat with on_conflict, or import with ids=new."
            ) from None

    def _origin(self) -> dict[str, Any]:
        """What the log's entry says of where the tenant came from."""
        manifest = self._archive.manifest
        return {
            "tenant_id": manifest.tenant["id"],
            "slug": manifest.tenant["slug"],
            "exported_at": manifest.exported_at,
            "digest": manifest.digest,
        }

    async def _insert_tenant(self, work: Transaction) -> None:
        line = msgspec.json.encode(self._row).decode()
        try:
            await work.run(Statement(insert_own_row(_tenants, tuple(self._row))), {"line": line})
        except AlreadyExists:
            raise
        except SaasError as refusal:
            raise Batch([], "", f"{MEMBER}, tenant").refused(refusal) from None

    async def _table(self, work: Transaction, fitted: Fitted) -> TableOutcome:
        entry = fitted.entry
        outcome = TableOutcome(rows=entry.rows)
        is_left_out = self._new_ids is not None and fitted.portable.needs_same_ids
        change = self._new_ids.change if self._new_ids is not None else _check
        async for batch in batches(self._archive, fitted, None if is_left_out else change):
            if is_left_out:
                outcome.skipped += len(batch.rows)
                continue
            await self._restore(work, entry.name, batch)
            if entry.name == _MEMBERS:
                await self._enlist(work, batch.rows)
            outcome.inserted += len(batch.rows)
            self._progress(entry.name, len(batch.rows))
        return outcome

    async def _restore(self, work: Transaction, table: str, batch: Batch) -> None:
        if not batch.rows:
            return
        try:
            await work.fetch(_RESTORE, [table, list(batch.rows[0]), batch.json])
        except SaasError as refusal:
            raise batch.refused(refusal) from None

    async def _enlist(self, work: Transaction, members: list[Row]) -> None:
        """Write who is a member into the directory, each as a person that nobody else is: that two
        are one is proved where they are, and an archive proves nothing."""
        live = [row for row in members if row.get("deleted_at", NULL) == NULL]
        self._has_owner |= any(row["role"] == _OWNER and row["status"] == _ACTIVE for row in live)
        ids = [msgspec.json.decode(row["id"], type=str) for row in live]
        values = {"tenant": self._row["id"], "members": ids}
        await work.run(_ENLIST, values)

    def _earlier_imports(self) -> Batch:
        """The log's entries of the imports that the archive's tenant has behind it."""
        place = f"{MEMBER}, imports"
        columns = {column.name for column in AUDIT_LOG.columns} - {"tenant_id"}
        rows: list[Row] = []
        for entry in self._archive.manifest.imports:
            if entry.keys() != columns or entry["action"] != IMPORTED:
                raise InvalidArchive(f"{place}: one is no such entry of the audit log.")
            row = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in entry.items()}
            if self._new_ids is not None:
                self._new_ids.change(AUDIT_LOG.name, row)
            rows.append(row)
        return batch_of(rows, place)


def _check(table: str, row: Row) -> None:
    """What PostgreSQL would take, and nobody could read."""
    if table == AUDIT_LOG.name:
        changes_of(row)


def _enlisted() -> Statement:
    ids = func.unnest(bindparam("members", type_=ARRAY(Uuid()))).column_valued("member_id")
    rows = select(bindparam("tenant", type_=Uuid()), ids, func.uuidv7())
    return Statement(insert(_memberships).from_select(["tenant", "member_id", "person_id"], rows))


_ENLIST = _enlisted()
