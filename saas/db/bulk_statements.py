"""The SQL of an import: one statement for some hundred rows, their values as arrays."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ARRAY,
    BindParameter,
    Executable,
    String,
    Table,
    Text,
    Uuid,
    bindparam,
    column,
    func,
    literal_column,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.types import TypeEngine

from saas.db.statements import tenant_predicate


def insert_new(table: Table, columns: Sequence[str], key: Sequence[str]) -> Executable:
    """Insert the rows whose natural key is free; comes back: their ids."""
    inserted = _insert(table, columns)
    if key:
        inserted = inserted.on_conflict_do_nothing(**_conflict(table, key))
    return inserted.returning(table.c.id, literal_column("true").label("is_new"))


def insert_or_update(
    table: Table, columns: Sequence[str], key: Sequence[str], changed: Sequence[str]
) -> Executable:
    """Insert, or set `changed` of the live row with the same natural key where that changes
    something. Comes back: the ids, and whether each is new; nothing for an unchanged row."""
    inserted = _insert(table, columns)
    given = inserted.excluded
    differs = or_(*(table.c[name].is_distinct_from(given[name]) for name in changed))
    return inserted.on_conflict_do_update(
        **_conflict(table, key),
        set_={
            **{name: given[name] for name in changed},
            "version": table.c.version + 1,
            "updated_at": func.now(),
            "updated_by": given.updated_by,
        },
        where=tenant_predicate(table) & differs,
    ).returning(table.c.id, literal_column("(old.id IS NULL)").label("is_new"))


def _conflict(table: Table, key: Sequence[str]) -> dict[str, Any]:
    """The natural key alone: a row that some other index refuses has not been there before."""
    return {
        "index_elements": [table.c[name] for name in ("tenant_id", *key)],
        "index_where": table.c.deleted_at.is_(None),
    }


def _insert(table: Table, columns: Sequence[str]) -> Insert:
    types = {name: _element(table.c[name].type) for name in ("id", *columns)}
    arrays: list[BindParameter[Any]] = [
        bindparam(f"c_{name}", type_=ARRAY(type_)) for name, type_ in types.items()
    ]
    unnested = func.unnest(*arrays).table_valued(*(column(n, t) for n, t in types.items()))
    given = unnested.render_derived(name="given")
    authors = ("created_by", "updated_by") if "version" in table.c else ()
    rows = select(
        bindparam("tenant_id", type_=Uuid()),
        *(given.c[name] for name in types),
        *(bindparam("actor", type_=Text()) for _ in authors),
    )
    return insert(table).from_select(["tenant_id", *types, *authors], rows, include_defaults=False)


def _element(column_type: TypeEngine[Any]) -> TypeEngine[Any]:
    # A cast to varchar(n) would cut the text silently; the column itself refuses it.
    return Text() if isinstance(column_type, String) else column_type
