"""The operations on a row's past: its history, its state at a time, and the way back to a state."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Generic, NamedTuple
from uuid import UUID

import msgspec

from saas import context
from saas.db import history_statements, revert_statements
from saas.db.audit import AuditEntry, AuditLog
from saas.db.operation import Operation, Rows
from saas.db.query import Condition, bad_parameter
from saas.db.quotas import reserve_again, reserve_purged
from saas.db.row_operations import Model, Page, Read, RowOperations, run
from saas.db.statements import ShapeCache
from saas.db.where import Query, as_query
from saas.errors import (
    Conflict,
    FieldError,
    Invalid,
    NotFound,
    ParentGone,
    PermissionDenied,
    VersionConflict,
)

log = RowOperations(AuditLog, AuditEntry)


class _Found(NamedTuple):
    """The row now, and the state that it is to have again. `version` is None where the row is not
    in its table; `last_version` is the one that it was purged with."""

    version: int | None
    is_deleted: bool
    last_version: int | None
    is_entry: bool
    action: str | None
    state: str
    was_deleted: bool
    references: Mapping[str, UUID | None]
    changed_references: frozenset[str]

    @property
    def is_gone(self) -> bool:
        return self.version is None

    @property
    def comes_back(self) -> bool:
        """It is no live row now, and will be one."""
        return (self.is_gone or self.is_deleted) and not self.was_deleted

    @property
    def known_version(self) -> int | None:
        return self.last_version if self.version is None else self.version


class HistoryOperations(Generic[Model, Read]):
    """What the repositories do with the past of the rows of `rows`. Like RowOperations it runs
    nothing, and its promises stand at the repository's methods."""

    def __init__(self, rows: RowOperations[Model, Read]) -> None:
        self._rows = rows
        self._table = rows.table
        self._shapes = ShapeCache()

    def history(self, id: UUID, query: Query = None) -> Operation[Page[AuditEntry]]:
        yield from self._rows.get(id, include_deleted=True)
        query = as_query(query, log.grammar)
        of_row = (Condition("entity", "eq", self._table.name), Condition("entity_id", "eq", id))
        conditions = (*query.conditions, *of_row)
        return (yield from log.list(msgspec.structs.replace(query, conditions=conditions)))

    def get_as_of(self, id: UUID, time: datetime) -> Operation[Read]:
        if time.tzinfo is None:
            raise bad_parameter("as_of", "Give a time with its offset.")
        columns = self._rows.columns
        statement = self._shapes.get(
            "as_of", lambda: history_statements.row_as_of(self._table, self._rows.columns)
        )
        rows = yield from run(statement, {"id": id, "as_of": time})
        *values, now, was_live = rows[0]
        if time > now:
            raise bad_parameter("as_of", "Give a time that is not in the future.")
        if not was_live:
            raise NotFound
        return self._rows.read(*values[: len(columns)])

    def revert(
        self, id: UUID, *, to: UUID, version: int | None = None, may_purge: bool = True
    ) -> Operation[Read]:
        while True:
            found = yield from self._find(id, to)
            self._check(found, version=version, may_purge=may_purge)
            yield from self._check_parents(found)
            if found.is_gone:
                yield from reserve_purged(self._table, is_deleted=found.was_deleted)
            elif found.comes_back:
                yield from reserve_again(self._table, id)
            if found.is_gone:
                done = yield from self._insert(id, found)
            else:
                done = yield from self._update(id, found)
            if done:
                return self._rows.read(*done[0])
            if not found.is_gone:
                present = yield from self._rows.get(id, include_deleted=True)
                if present.version == found.version:  # type: ignore[attr-defined]  # a TenantModel
                    return present
            # Another request was first; what it left decides.

    def _find(self, id: UUID, to: UUID) -> Operation[_Found]:
        references = tuple(self._rows.references)
        statement = self._shapes.get(
            "entry", lambda: history_statements.row_after_entry(self._table, references)
        )
        rows = yield from run(statement, {"id": id, "to": to})
        version, is_deleted, last_version, is_entry, action, state, was_deleted, *ids = rows[0]
        then, now = ids[: len(references)], ids[len(references) :]
        pairs = zip(references, then, now, strict=True)
        changed = frozenset(name for name, id, text in pairs if id is not None and str(id) != text)
        return _Found(
            version=version,
            is_deleted=is_deleted,
            last_version=last_version,
            is_entry=is_entry,
            action=action,
            state=state,
            was_deleted=was_deleted,
            references=dict(zip(references, then, strict=True)),
            changed_references=changed,
        )

    def _check(self, found: _Found, *, version: int | None, may_purge: bool) -> None:
        current = found.known_version
        if current is None:
            raise NotFound
        if (found.is_gone or found.is_deleted) and not may_purge:
            raise PermissionDenied(f"{self._table.name}:purge")
        if version is not None and version != current:
            raise VersionConflict(current)
        if not found.is_entry:
            # One answer for an absent entry, another row's and another tenant's.
            fault = FieldError("/to", "unknown_reference", "The row has no such entry.")
            raise Invalid(errors=[fault])
        if found.action == "delete":
            raise Conflict("After this entry the row was gone for good. Name an earlier one.")
        lost = [c.name for c in self._table.columns if c.info.get("masked") and not c.nullable]
        if found.is_gone and lost:
            raise Conflict(
                f"The row is gone for good, and the log does not keep {' and '.join(lost)}, "
                "without which it cannot be. Create a new one."
            )

    def _check_parents(self, found: _Found) -> Operation[None]:
        """A child of a deleted parent may be changed, but neither become one nor come back."""
        is_new = found.comes_back or found.is_gone
        names = found.references if is_new else found.changed_references
        try:
            yield from self._rows.check_references({n: found.references[n] for n in names})
        except Invalid as refusal:
            raise ParentGone(errors=refusal.errors) from None

    def _update(self, id: UUID, found: _Found) -> Operation[Rows]:
        statement = self._shapes.get(
            ("update", found.was_deleted),
            lambda: revert_statements.rewrite_row(
                self._table, self._rows.columns, is_deleted=found.was_deleted
            ),
        )
        return (yield from run(statement, self._values(id, found, found.version)))

    def _insert(self, id: UUID, found: _Found) -> Operation[Rows]:
        statement = self._shapes.get(
            ("insert", found.was_deleted),
            lambda: revert_statements.reinsert_row(
                self._table, self._rows.columns, is_deleted=found.was_deleted
            ),
        )
        return (yield from run(statement, self._values(id, found, found.last_version)))

    def _values(self, id: UUID, found: _Found, version: int | None) -> dict[str, Any]:
        return {
            "id": id,
            "state": found.state,
            "seen_version": version,
            "actor": context.principal().actor,
        }
