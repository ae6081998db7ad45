"""The SQL for many rows at once: one statement for a set of items, their values as arrays."""

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BindParameter,
    ColumnElement,
    Executable,
    Select,
    Table,
    TableValuedAlias,
    Text,
    Update,
    Uuid,
    any_,
    bindparam,
    case,
    column,
    func,
    literal_column,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.types import TypeEngine

from saas.db.bound_types import without_length
from saas.db.operation import Rows
from saas.db.statements import edited, live, tenant_predicate


def arrays_of(columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The values for the parameters that the statements below name."""
    rows = list(rows)
    return {f"c_{name}": [row[name] for row in rows] for name in columns}


def insert_rows(
    table: Table, columns: Sequence[str], *, alike: Container[str], skips_conflicts: bool
) -> Executable:
    """Insert all, or what does not conflict; how many were inserted comes back. Not their ids:
    who inserts has made them, and PostgreSQL would ask of each row whether it may be read. Of those
    `alike` the parameter is the one value that all rows have."""
    inserted = _insert(table, columns, alike)
    if skips_conflicts:
        inserted = inserted.on_conflict_do_nothing()
    made = inserted.returning(literal_column("1")).cte("made")
    return select(func.count()).select_from(made)


def upsert_rows(
    table: Table, columns: Sequence[str], key: Sequence[str], changed: Sequence[str]
) -> Executable:
    """Insert, or set `changed` of the live row with the same natural key where that changes
    something. Comes back: id, whether it is new, and the key; nothing for an unchanged row."""
    inserted = _insert(table, columns)
    given = inserted.excluded
    values = {name: given[name] for name in changed}
    returned = (
        table.c.id,
        # Before 18, PostgreSQL had no such name for the row that was there.
        literal_column("(old.id IS NULL)").label("is_new"),
        *(table.c[name] for name in key),
    )
    if not values:
        return inserted.on_conflict_do_nothing().returning(*returned)
    return inserted.on_conflict_do_update(
        index_elements=[table.c[name] for name in ("tenant_id", *key)],
        index_where=table.c.deleted_at.is_(None),
        set_={
            **values,
            "version": table.c.version + 1,
            "updated_at": func.now(),
            "updated_by": given.updated_by,
        },
        where=tenant_predicate(table) & _differs(table, values),
    ).returning(*returned)


def update_rows(table: Table, columns: Sequence[str], *, versioned: bool) -> Executable:
    """Set `columns` of live rows where that changes something."""
    given = _given(table, ("id", *columns, *_version(versioned)))
    values = {name: given.c[name] for name in columns}
    matches = _matches(table, given, versioned=versioned)
    changed = edited(table).where(*matches, *live(table), _differs(table, values)).values(values)
    return _told(table, changed)


def soft_delete_rows(table: Table, *, versioned: bool) -> Executable:
    given = _given(table, ("id", *_version(versioned)))
    matches = _matches(table, given, versioned=versioned)
    deleted = edited(table).where(*matches, *live(table))
    return _told(table, deleted.values(deleted_at=func.now(), deleted_by=bindparam("actor")))


def restore_rows(table: Table) -> Executable:
    """Bring back those of the given ids that are deleted."""
    deleted = edited(table).where(*_named(table), table.c.deleted_at.is_not(None))
    return _told(table, deleted.values(deleted_at=None, deleted_by=None))


def changed_by(told: Rows, ids: Mapping[int, UUID]) -> Mapping[int, UUID]:
    """Those of `ids` that one of the three statements above has changed."""
    some = told[0][0]
    if some is None:
        return ids
    changed = set(some)
    return {index: id for index, id in ids.items() if id in changed}


def select_versions(table: Table) -> Executable:
    """Id and version of those of the given ids that are live rows."""
    return select(table.c.id, table.c.version).where(*_named(table), *live(table))


def select_many(table: Table, columns: Sequence[str]) -> Executable:
    """The rows with the given ids, deleted ones too, in no order."""
    return select(*(table.c[name] for name in columns)).where(*_named(table))


def lock_rows(table: Table, key: Sequence[str]) -> Executable:
    """Lock the rows with the given ids and, unless `key` is empty, the live ones with the given
    natural keys for a change, one after another in the order of their ids. None comes back."""
    ids: ColumnElement[Any] = bindparam("c_id", type_=ARRAY(Uuid()))
    if key:
        # A select of its own, not one for each row of the one around it.
        by_key = _by_key(table, key, (table.c.id,)).correlate(None).scalar_subquery()
        ids = ids.concat(func.array(by_key, type_=ARRAY(Uuid())))
    # Not IN (SELECT …): for an array the index is read once, in the order of the ids.
    chosen = select(table.c.id).where(tenant_predicate(table), table.c.id == any_(ids))
    locked = chosen.order_by(table.c.id).with_for_update(key_share=True, of=table)
    return select(func.count()).select_from(locked.subquery("locked"))


def select_by_key(table: Table, key: Sequence[str]) -> Executable:
    """Id and key of the live rows with the given natural keys."""
    return _by_key(table, key, (table.c.id, *(table.c[name] for name in key)))


def _by_key(table: Table, key: Sequence[str], columns: Sequence[ColumnElement[Any]]) -> Select[Any]:
    found = select(*columns).where(tenant_predicate(table), table.c.deleted_at.is_(None))
    if len(key) == 1:
        (wanted,) = _arrays(table, key).values()
        return found.where(table.c[key[0]] == any_(wanted))
    given = _given(table, key)
    same = (table.c[name] == given.c[name] for name in key)
    return found.select_from(given).where(*same)


def _told(table: Table, change: Update) -> Executable:
    """Which rows `change` changed; null where it is all of the given ids, for to name a thousand
    takes half a millisecond."""
    changed = change.returning(table.c.id).cte("changed")
    asked = func.cardinality(bindparam("c_id", type_=ARRAY(Uuid())))
    none = literal_column("'{}'::uuid[]", ARRAY(Uuid()))
    ids = func.coalesce(func.array_agg(changed.c.id, type_=ARRAY(Uuid())), none)
    return select(case((func.count() < asked, ids))).select_from(changed)


def _insert(table: Table, columns: Sequence[str], alike: Container[str] = ()) -> Insert:
    arrays = _arrays(table, ("id", *(name for name in columns if name not in alike)))
    # Not FROM unnest(…): PostgreSQL would put all rows aside before the first goes on.
    unnested = select(*(func.unnest(array).label(name) for name, array in arrays.items()))
    given = unnested.subquery("given")
    actor = bindparam("actor", type_=Text())
    values: dict[str, ColumnElement[Any]] = {
        "tenant_id": bindparam("tenant_id", type_=Uuid()),
        **{name: bindparam(f"c_{name}", type_=_bound_type(table, name)) for name in columns},
        **given.c,
    }
    if "version" in table.c:
        values |= {"created_by": actor, "updated_by": actor}
    return insert(table).from_select(list(values), select(*values.values()), include_defaults=False)


def _given(table: Table, columns: Sequence[str]) -> TableValuedAlias:
    typed = (column(name, _bound_type(table, name)) for name in columns)
    rows = func.unnest(*_arrays(table, columns).values()).table_valued(*typed)
    return rows.render_derived(name="given")


def _arrays(table: Table, columns: Sequence[str]) -> dict[str, BindParameter[Any]]:
    """The parameters that `arrays_of` has values for."""
    return {n: bindparam(f"c_{n}", type_=ARRAY(_bound_type(table, n))) for n in columns}


def _bound_type(table: Table, name: str) -> TypeEngine[Any]:
    return without_length(table.c[name].type)


def _matches(
    table: Table, given: TableValuedAlias, *, versioned: bool
) -> list[ColumnElement[bool]]:
    names = ("id", *_version(versioned))
    return [tenant_predicate(table), *(table.c[name] == given.c[name] for name in names)]


def _named(table: Table) -> tuple[ColumnElement[bool], ...]:
    return tenant_predicate(table), table.c.id == any_(bindparam("c_id", type_=ARRAY(Uuid())))


def _version(versioned: bool) -> tuple[str, ...]:
    return ("version",) if versioned else ()


def _differs(table: Table, values: Mapping[str, ColumnElement[Any]]) -> ColumnElement[bool]:
    return or_(*(table.c[name].is_distinct_from(value) for name, value in values.items()))
