"""A tenant that is here takes the rows of an archive in: one transaction of the app's role, bound
to the tenant, in which every change is audited as any other.

The tenant's own row and its audit log stay: the log tells what happened here, the import included.
API keys that are here stay too, for an old archive must not revive what was revoked since.
"""

from collections.abc import Sequence

from saas import context
from saas.context import Principal
from saas.db.database import Database
from saas.db.merge_statements import count_lines, is_mergeable, is_overwritable, merge_lines
from saas.db.statements import ShapeCache
from saas.db.transaction import Transaction, current_transaction
from saas.errors import AlreadyExists, Conflict, SaasError, WrongTenantStatus
from saas.portability.fitting import Fitted
from saas.portability.merged import check_members, settle
from saas.portability.opened import OpenArchive
from saas.portability.outcome import Imported, Progress, TableOutcome, Wish
from saas.portability.rows import Batch, batches
from saas.tenancy.directory import TenantRead
from saas.tenancy.lifecycle_statements import OPEN
from saas.tenancy.models import Member
from saas.tenancy.own_tenant import lock_own_tenant
from saas.usage.adopting import adopt_events

_STATEMENT_TIMEOUT_MS = 55_000
_shapes = ShapeCache()
_MEMBERS = Member.__tablename__
# A share of the pool of its own, as exports have.
_LANE = "archives"


def require_open(status: str) -> None:
    """Raises WrongTenantStatus for a tenant that takes no rows any more."""
    if status not in OPEN:
        raise WrongTenantStatus(
            f"This tenant is {status} here: its id and slug are not used again. "
            "Resume it first if it can be, or import with ids=new and another slug.",
            status,
        )


class Merge:
    def __init__(
        self,
        database: Database,
        archive: OpenArchive,
        tables: Sequence[Fitted],
        tenant: TenantRead,
        progress: Progress,
    ) -> None:
        self._database = database
        self._archive = archive
        self._tables = tables
        self._tenant = tenant
        self._progress = progress

    async def run(self, wish: Wish, *, actor: str) -> Imported:
        """Raises InvalidArchive, Conflict, WrongTenantStatus, QuotaExceeded, AlreadyExists where a
        natural key is another row's."""
        platform = current_transaction()
        principal = Principal(
            tenant_id=self._tenant.id, actor=actor, statement_timeout_ms=_STATEMENT_TIMEOUT_MS
        )
        with context.acting_as(principal, context.origin()):
            async with Transaction(self._database.app, lane=_LANE) as work:
                # Nobody joins or leaves meanwhile: an owner must remain. And who held the lock
                # before may have offboarded the tenant.
                require_open(await lock_own_tenant())
                # A row may refer to one that comes after it in its own table.
                await work.fetch("SET CONSTRAINTS ALL DEFERRED")
                done: dict[str, TableOutcome] = {}
                for fitted in self._tables:
                    overwrite = wish.on_conflict == "update" and is_overwritable(fitted.portable)
                    table = _TableMerge(work, platform, fitted, overwrite=overwrite)
                    done[fitted.entry.name] = await table.run(self._archive, self._progress)
                await work.fetch("SET CONSTRAINTS ALL IMMEDIATE")
                if _MEMBERS in done and done[_MEMBERS].skipped < done[_MEMBERS].rows:
                    await check_members()
                await settle()
                await adopt_events(work)
                if not wish.dry_run:
                    await work.commit()
        return Imported(tenant=self._tenant, tables=done, verified=True, dry_run=wish.dry_run)


class _TableMerge:
    def __init__(
        self, work: Transaction, platform: Transaction, fitted: Fitted, *, overwrite: bool
    ) -> None:
        self._work = work
        self._platform = platform
        self._fitted = fitted
        self._overwrite = overwrite

    async def run(self, archive: OpenArchive, progress: Progress) -> TableOutcome:
        entry = self._fitted.entry
        outcome = TableOutcome(rows=entry.rows)
        async for batch in batches(archive, self._fitted):
            inserted = updated = 0
            if is_mergeable(self._fitted.portable):
                inserted, updated = await self._merge(batch)
                await self._prove(batch)
            outcome.inserted += inserted
            outcome.updated += updated
            outcome.skipped += len(batch.rows) - inserted - updated
            progress(entry.name, len(batch.rows))
            # The request's own transaction stands idle meanwhile, and must not be given up.
            await self._platform.fetch("SELECT 1")
        return outcome

    async def _merge(self, batch: Batch) -> tuple[int, int]:
        """How many rows are new, and how many were changed."""
        portable, columns = self._fitted.portable, self._fitted.entry.column_names
        statement = _shapes.get(
            ("merge", portable.name, columns, self._overwrite),
            lambda: merge_lines(portable, columns, overwrite=self._overwrite),
        )
        try:
            written = await self._work.run(statement, self._values(batch))
        except AlreadyExists as taken:
            raise AlreadyExists(f"{batch.place}: {taken.message}", errors=taken.errors) from None
        except SaasError as refusal:
            raise batch.refused(refusal) from None
        inserted = sum(row["is_new"] for row in written)
        return inserted, len(written) - inserted

    async def _prove(self, batch: Batch) -> None:
        """Every row is there, and after an update as the archive has it."""
        portable, columns = self._fitted.portable, self._fitted.entry.column_names
        statement = _shapes.get(
            ("count", portable.name, columns), lambda: count_lines(portable, columns)
        )
        found = (await self._work.run(statement, self._values(batch)))[0]
        if found["present"] != len(batch.rows):
            raise Conflict(f"{batch.place}: not every row could be stored. Nothing is kept.")
        if self._overwrite and found["same"] != len(batch.rows):
            raise Conflict(
                f"{batch.place}: a row is here with another creation, which nothing overwrites. "
                "Nothing is kept."
            )

    def _values(self, batch: Batch) -> dict[str, object]:
        return {"tenant_id": context.principal().tenant_id, "lines": batch.json}
