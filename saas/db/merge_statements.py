"""The SQL by which a tenant that is here takes in rows of an archive, as the app's role."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    ColumnElement,
    Executable,
    String,
    TableValuedAlias,
    Text,
    Uuid,
    and_,
    bindparam,
    cast,
    column,
    func,
    literal_column,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import insert

from saas.db.portable import PortableTable
from saas.db.rls import updatable_columns
from saas.db.statements import tenant_predicate


def merge_lines(portable: PortableTable, columns: Sequence[str], *, overwrite: bool) -> Executable:
    """Insert the rows of `lines`, a JSON array; a row that is there is left or, where that changes
    something, overwritten. Comes back: whether it is new, of each row that was written."""
    table = portable.table
    given = _given(portable, columns)
    rows = select(bindparam("tenant_id", type_=Uuid()), *(given.c[name] for name in columns))
    merged = insert(table).from_select(["tenant_id", *columns], rows, include_defaults=False)
    key = [table.c.tenant_id, table.c.id]
    # Before 18, PostgreSQL had no such name for the row that was there.
    is_new: ColumnElement[bool] = literal_column("(old.id IS NULL)").label("is_new")
    if not overwrite:
        return merged.on_conflict_do_nothing(index_elements=key).returning(is_new)
    may_change = set(updatable_columns(table)) & set(_overwritten(portable, columns))
    values = {name: merged.excluded[name] for name in columns if name in may_change}
    changes = or_(*(table.c[name].is_distinct_from(value) for name, value in values.items()))
    return merged.on_conflict_do_update(
        index_elements=key, set_=values, where=tenant_predicate(table) & changes
    ).returning(is_new)


def count_lines(portable: PortableTable, columns: Sequence[str]) -> Executable:
    """How many rows of `lines` are there, and how many of them as the line says, but for what no
    line overwrites."""
    table = portable.table
    given = _given(portable, columns)
    told = _overwritten(portable, columns)
    equal = and_(*(table.c[name].is_not_distinct_from(given.c[name]) for name in told))
    return (
        select(func.count().label("present"), func.count().filter(equal).label("same"))
        .select_from(given)
        .join(table, table.c.id == given.c.id)
        .where(tenant_predicate(table))
    )


def is_mergeable(portable: PortableTable) -> bool:
    """Whether the app may write such rows at all: the log is written by triggers alone."""
    return _app_may(portable, "INSERT")


def is_overwritable(portable: PortableTable) -> bool:
    """Whether rows that are there may be overwritten: not those that are only ever added, and no
    credentials."""
    return _app_may(portable, "UPDATE") and not portable.needs_same_ids


def _overwritten(portable: PortableTable, columns: Sequence[str]) -> list[str]:
    """The columns without those that only a new row takes from an archive."""
    infos = ((name, portable.table.c[name].info) for name in columns)
    return [name for name, info in infos if info.get("portable") != "new_rows"]


def _app_may(portable: PortableTable, privilege: str) -> bool:
    return privilege in portable.table.info.get("app", (privilege,))


def _given(portable: PortableTable, columns: Sequence[str]) -> TableValuedAlias:
    """The lines as rows of the model's types. Text has no length here: one that is too long is
    refused where it is written, not cut where it is read."""
    typed = [column(name, _read_as(portable.table.c[name])) for name in columns]
    lines = cast(bindparam("lines", type_=Text()), JSON)
    record = func.json_to_recordset(lines).table_valued(*typed)
    return record.render_derived(name="given", with_types=True)


def _read_as(column: Column[Any]) -> Any:
    return Text() if isinstance(column.type, String) else column.type
