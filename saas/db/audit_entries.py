"""The audit log as single entries: those of `audit_log`, and those that `audit_sets` holds by the
hundred. A page of entries opens only the sets that it may show."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Executable,
    Select,
    Table,
    Uuid,
    func,
    literal_column,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import JSONB

from saas.db.audit_set_choice import (
    COMMON,
    holds,
    id_after,
    literal,
    matching_sets,
    shown_by,
    tells_apart,
)
from saas.db.filters import matching
from saas.db.query import ListQuery
from saas.db.statements import tenant_predicate


class AuditEntries:
    """What the audit log is read from: the tables `log` and `sets`."""

    def __init__(self, log: Table, sets: Table) -> None:
        self._log = log
        self._sets = sets

    def rows(self, query: ListQuery | None = None) -> Any:
        """The tenant's entries with the columns of the log; given a query, at least those that its
        page may show."""
        sets = self._named()
        chosen = select(sets) if query is None else shown_by(sets, query)
        return self._together(self._opened(chosen))

    def row(self, id: ColumnElement[Any]) -> Any:
        """The tenant's entry `id`, and few others."""
        sets = self._named()
        return self._together(self._opened(select(sets).where(holds(sets, "id", "eq", id))))

    def rows_of(self, entity: str, id: ColumnElement[Any]) -> Any:
        """The entries of one row of the tenant."""
        sets = self._named()
        around = holds(sets, "entity_id", "eq", id)
        chosen = select(sets).where(sets.c.entity == entity, around)
        return self._together(self._opened(chosen), entity=entity, entity_id=id)

    def in_order(self) -> tuple[Any, Any]:
        """All of the tenant's entries, and the order of their ids in which PostgreSQL reads them
        without a sort: sets in the order of theirs, and one after another."""
        opened = self._opened(select(self._named()))
        # Only what is sorted by itself is merged with what an index has in order.
        ordered = opened.order_by(literal_column("place"), literal_column("number"))
        entries = self._together(select(ordered.subquery("opened")))
        return entries, (entries.c.place, entries.c.number)

    def count(self, query: ListQuery) -> Executable:
        """How many entries fulfil the query."""
        sets = self._named()
        if tells_apart(query):
            rows = self._together(self._opened(select(sets).where(*matching_sets(sets, query))))
            return matching(select(func.count()).select_from(rows), rows, query, ())
        log = self._log
        alone = select(func.count()).select_from(log).where(tenant_predicate(log))
        alone = matching(alone, log, query, ())
        in_sets = select(func.coalesce(func.sum(sets.c.size), 0)).where(*matching_sets(sets, query))
        return select(alone.scalar_subquery() + in_sets.scalar_subquery())

    def _named(self) -> Any:
        """The tenant's sets, with the id of their last entry."""
        sets = self._sets
        end = id_after(sets.c.id, sets.c.size - literal(1)).label("end")
        columns = (column for column in sets.columns if column.name != "rows")
        return select(*columns, end).where(tenant_predicate(sets)).subquery("named")

    def _opened(self, sets: Select[Any]) -> Select[Any]:
        """The entries in `sets`, with the columns of the log and their places. The changes of each
        are the columns of its set, which are to be read at its `number` (`_CHANGES`), and so are
        the old ones."""
        each = sets.subquery("sets")
        entry = func.unnest(each.c.ids).table_valued("row_id", with_ordinality="number")
        entry = entry.render_derived(name="entry")
        number = literal_column("entry.number", BigInteger())
        columns: dict[str, ColumnElement[Any]] = {
            "tenant_id": each.c.tenant_id,
            **{name: each.c[name] for name in COMMON},
            "id": id_after(each.c.id, number - literal(1)),
            "entity_id": literal_column("entry.row_id", Uuid()),
            "changes": each.c.columns,
        }
        shown = [columns[column.name].label(column.name) for column in self._log.columns]
        place = each.c.id.label("place"), number.label("number"), each.c.old_columns
        return select(*shown, *place).select_from(each.join(entry, true()))

    def _together(self, opened: Select[Any], **values: Any) -> Any:
        """The tenant's entries of the log and `opened`, all of them with these `values`."""
        alone = literal_column("0::bigint", BigInteger()).label("number")
        none = literal_column("NULL::jsonb", JSONB()).label("old_columns")
        single = select(*self._log.columns, self._log.c.id.label("place"), alone, none)
        both: Any = union_all(single, opened).subquery("entries")
        # PostgreSQL takes a part of a UNION in the order of its index only where the conditions
        # stand outside.
        alike = (both.c[name] == value for name, value in values.items())
        columns = {column.name: column for column in both.c} | {"changes": _CHANGES}
        entries = select(*(column.label(name) for name, column in columns.items()))
        return entries.where(tenant_predicate(both), *alike).subquery(self._log.name)


# In the names that `_together` gives. Those of an entry in a set are what the columns have at its
# number. It takes some microseconds, so PostgreSQL does it once it has sorted, for what is shown.
_CHANGES = literal_column(
    """CASE WHEN entries.number = 0 THEN entries.changes
      WHEN entries.old_columns IS NULL
        THEN CASE WHEN entries.changes ? 'version' THEN '{}' ELSE '{"is_new": true}'::jsonb END
          || jsonb_build_object('old', NULL, 'new', (
            SELECT jsonb_object_agg(each.key, each.value -> (entries.number - 1)::int)
            FROM jsonb_each(entries.changes) AS each))
      ELSE (
        SELECT jsonb_build_object(
          'old', jsonb_object_agg(each.key, each.old), 'new', jsonb_object_agg(each.key, each.new))
        FROM (
          SELECT c.key, c.olds -> (entries.number - 1)::int AS old,
            c.news -> (entries.number - 1)::int AS new
          FROM ROWS FROM (jsonb_each(entries.old_columns), jsonb_each(entries.changes))
            AS c(key, olds, same_key, news)) AS each
        WHERE each.old <> each.new) END""",
    JSONB(),
)
