"""A row as jsonb, and back: jsonb_to_record is the inverse of the to_jsonb with which the trigger
wrote the log, so every type comes back exactly. Masked columns are never read."""

from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    DefaultClause,
    Table,
    TableValuedAlias,
    Uuid,
    bindparam,
    cast,
    column,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB

from saas.db.bound_types import without_length
from saas.db.models import PROTECTED
from saas.db.statements import tenant_predicate

ROW_ID = bindparam("id", type_=Uuid())


def restored_columns(table: Table) -> tuple[Column[Any], ...]:
    """What a revert writes: all but the bookkeeping, generated columns and masked ones."""
    return tuple(
        c
        for c in table.columns
        if c.name not in PROTECTED and c.computed is None and not c.info.get("masked")
    )


def state_record(table: Table, state: ColumnElement[Any]) -> TableValuedAlias:
    """`state` as a row with the model's types. Text has no length here: a value that no longer
    fits is refused where it is written, not where it is read."""
    columns = [
        column(c.name, without_length(c.type)) for c in table.columns if not c.info.get("masked")
    ]
    record = func.jsonb_to_record(state).table_valued(*columns)
    return record.render_derived(name="state", with_types=True)


def present_state(table: Table) -> ColumnElement[Any]:
    """The row as it is now; NULL without one."""
    columns = (c for c in table.columns if not c.info.get("masked") and c.name != "tenant_id")
    row = select(*columns).where(tenant_predicate(table), table.c.id == ROW_ID).subquery("present")
    # With a star, for a column may have the name of the row.
    whole = func.to_jsonb(literal_column("present.*"), type_=JSONB())
    return select(whole).select_from(row).scalar_subquery()


def default_state(table: Table) -> ColumnElement[Any]:
    """What a purged row has in columns added since, and its id, which no entry repeats."""
    pairs: list[Any] = ["id", ROW_ID]
    for restored in restored_columns(table):
        default = restored.server_default
        if isinstance(default, DefaultClause):
            pairs += [restored.name, cast(default.arg, restored.type)]
    return func.jsonb_build_object(*pairs, type_=JSONB())
