"""The Alembic plugin: `alembic revision --autogenerate` writes what guards the tables, as literal
SQL, so that a migration says all it does and needs no code of this package."""

import re
from typing import Any

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import CreateTableOp, DropTableOp, MigrateOperation, UpgradeOps
from alembic.runtime.plugins import Plugin
from alembic.util import DispatchPriority, PriorityDispatchResult

from saas.db.audit import AuditLog
from saas.db.catalog import DEFINER_FUNCTIONS, Catalogue, read_catalogue, required_function
from saas.db.definer_functions import (
    DefinerFunction,
    close_function,
    create_function,
    drop_function,
    open_function,
)
from saas.db.drift import Change, Changes, security_changes, unguarded
from saas.db.rls import Security, required_security

PLUGIN = "saas.security"


class SecurityOp(MigrateOperation):
    """One statement of a migration, with the one that takes it back."""

    def __init__(self, change: Change) -> None:
        self.change = change

    def reverse(self) -> "SecurityOp":
        return SecurityOp(Change(do=self.change.undo, undo=self.change.do))

    def to_diff_tuple(self) -> tuple[str, str]:
        return ("security", self.change.do)


def _compare(
    context: AutogenContext, upgrade_ops: UpgradeOps, schemas: set[str | None]
) -> PriorityDispatchResult:
    if context.connection is None:
        return PriorityDispatchResult.CONTINUE
    # Any: SQLAlchemy does not know which driver it runs on; it is psycopg.
    driver: Any = context.connection.connection.driver_connection
    catalogue = read_catalogue(driver)
    operations = upgrade_ops.ops
    # The log first: whatever the migration does to audited tables later must find it.
    operations.sort(key=lambda operation: _table_name(operation) != AuditLog.__tablename__)
    for table in context.sorted_tables:
        required = required_security(table)
        if required is not None:
            _place(operations, table.name, _changes(catalogue, required))
    for operation in list(operations):
        if isinstance(operation, CreateTableOp):
            # The models' own notes; what they ask for is written out as SQL.
            operation.info = {}
        if isinstance(operation, DropTableOp) and operation.table_name in catalogue.tables:
            way_back = _way_back(catalogue.tables[operation.table_name])
            _place(operations, operation.table_name, way_back)
    # Before the tables, whose triggers call them; so they are dropped after the tables.
    operations[:0] = [
        SecurityOp(change)
        for function in DEFINER_FUNCTIONS
        for change in _function_changes(catalogue, function)
    ]
    return PriorityDispatchResult.CONTINUE


def _changes(catalogue: Catalogue, required: Security) -> Changes:
    actual = catalogue.tables.get(required.table)
    if actual is not None:
        return security_changes(actual, required)
    additions = security_changes(unguarded(required.table), required).additions
    # Dropping the table takes all of this with it.
    return Changes([], [Change(do=change.do, undo="") for change in additions])


def _way_back(actual: Security) -> Changes:
    """For a table that is dropped: nothing now, its guards when the downgrade creates it anew."""
    additions = security_changes(unguarded(actual.table), actual).additions
    return Changes([Change(do="", undo=change.do) for change in reversed(additions)], [])


def _place(operations: list[MigrateOperation], table: str, changes: Changes) -> None:
    """Put the changes around what Alembic does to the table."""
    places = [i for i, operation in enumerate(operations) if _table_name(operation) == table]
    behind = places[-1] + 1 if places else len(operations)
    operations[behind:behind] = map(SecurityOp, changes.additions)
    before = places[0] if places else behind
    operations[before:before] = map(SecurityOp, changes.removals)


def _table_name(operation: MigrateOperation) -> str | None:
    # Creation, changes and removal of a table carry its name, each as an attribute of its own.
    return getattr(operation, "table_name", None)


def _function_changes(catalogue: Catalogue, function: DefinerFunction) -> list[Change]:
    actual, required = catalogue.functions.get(function.signature), required_function(function)
    create = create_function(function)
    if actual is None:
        # PostgreSQL lets everybody execute a new function. Dropping it takes all rights away.
        close = Change(close_function(function), "")
        opened = [Change(open_function(function, required.executors), "")]
        made = [Change(create, drop_function(function)), close]
        return made + (opened if required.executors else [])
    changes = []
    if actual._replace(executors=required.executors) != required:
        changes.append(Change(create, catalogue.sources[function.signature]))
    if lost := tuple(role for role in actual.executors if role not in required.executors):
        changes.append(Change(close_function(function, lost), open_function(function, lost)))
    if gained := tuple(role for role in required.executors if role not in actual.executors):
        changes.append(Change(open_function(function, gained), close_function(function, gained)))
    return changes


@renderers.dispatch_for(SecurityOp)
def _render(context: AutogenContext, operation: SecurityOp) -> list[str]:
    if not operation.change.do:
        return []
    pieces = _pieces(_BIND_PARAMETER.sub(r"\\:", operation.change.do))
    prefix = context.opts["alembic_module_prefix"]
    if len(pieces) == 1:
        return [f"{prefix}execute({pieces[0]!r})"]
    return [f"{prefix}execute(", *(f"    {piece!r}" for piece in pieces), ")"]


# Alembic would take a colon before a word for a parameter (sqlalchemy.text), outside of `::`.
_BIND_PARAMETER = re.compile(r"(?<![:\w\\]):(?=\w+(?!:))")
_CLAUSES = re.compile(r"(?<= )(?=(?:TO|USING|WITH CHECK|REFERENCING|FOR EACH|EXECUTE) )")
_LINE_WIDTH = 84


def _pieces(sql: str) -> list[str]:
    """The statement in pieces that fit on a line of Python; joined they are the statement."""
    pieces = [""]
    for line in sql.splitlines(keepends=True):
        for clause in _CLAUSES.split(line):
            if pieces[-1].endswith("\n") or len(pieces[-1] + clause) > _LINE_WIDTH:
                pieces += _fitting(clause)
            else:
                pieces[-1] += clause
    return [piece for piece in pieces if piece]


def _fitting(clause: str) -> list[str]:
    return re.findall(rf".{{1,{_LINE_WIDTH}}}(?:\s|$)|\S+\s?|\s", clause)


_plugin = Plugin(PLUGIN)
_plugin.add_autogenerate_comparator(_compare, "schema", priority=DispatchPriority.LAST)
