"""A map bound to what it names: the tables of the source and the resources of the product."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from msgspec import structs
from sqlalchemy import Engine

from saas.db.bulk_results import RowError, shown
from saas.db.bulk_results import SourceRow as ImportRow
from saas.db.bulk_target import BulkTarget, bulk_target
from saas.errors import ConfigurationError
from saas.legacy.lookups import Lookup
from saas.legacy.map import Map, TableMap
from saas.legacy.source import SourceRow, SourceTable
from saas.legacy.transforms import BadValue, Make, maker_of

# Resources by name. Any: what the web makes of them is not looked at here.
Resources = Mapping[str, Any]


class ColumnPlan(NamedTuple):
    """`places` are those of its values among the ones that are read."""

    name: str
    places: Sequence[int]
    make: Make


class TablePlan(NamedTuple):
    """How one table is copied."""

    map: TableMap
    target: BulkTarget
    source: SourceTable
    columns: Sequence[ColumnPlan]
    lookups: Mapping[str, Lookup]

    def row(self, number: int, row: SourceRow) -> ImportRow:
        """The row for the import; its references are natural keys still."""
        if row.values is None:
            return ImportRow(number, RowError(number, None, None, "unreadable", row.fault))
        values: dict[str, Any] = {}
        for column in self.columns:
            try:
                values[column.name] = column.make([row.values[place] for place in column.places])
            except BadValue as bad:
                fault = RowError(number, column.name, shown(bad.value), bad.code, bad.reason)
                return ImportRow(number, fault)
        return ImportRow(number, values)


def planned(map: Map, engine: Engine, resources: Resources) -> list[TablePlan]:
    """Raises ConfigurationError, naming the table and column, for what cannot be done."""
    return [_table(table, engine, resources) for table in map.tables]


def _table(map: TableMap, engine: Engine, resources: Resources) -> TablePlan:
    resource = _resource(map.resource, resources, f"table {map.source}")
    target = bulk_target(resource, is_lax=True)
    _check_columns(map, target)
    if map.on_conflict != "error" and not target.rows.natural_key:
        raise ConfigurationError(
            f"table {map.source}: on_conflict goes by a natural key, and {map.resource} has none"
        )
    wanted = list(dict.fromkeys(name for c in map.column_maps.values() for name in c.sources))
    columns = []
    lookups = {}
    for name, column in map.column_maps.items():
        place = f"table {map.source}, column {name}"
        try:
            make = maker_of(column)
        except ConfigurationError as error:
            raise ConfigurationError(f"{place}: {error}") from None
        columns.append(ColumnPlan(name, [wanted.index(source) for source in column.sources], make))
        if column.lookup is not None:
            lookups[name] = _lookup(_resource(column.lookup, resources, place), place)
    return TablePlan(map, target, SourceTable(engine, map, wanted), columns, lookups)


def _resource(name: str, resources: Resources, place: str) -> Any:
    if name not in resources:
        raise ConfigurationError(f"{place}: there is no resource {name!r}: {', '.join(resources)}")
    return resources[name]


def _check_columns(map: TableMap, target: BulkTarget) -> None:
    unknown = [name for name in map.columns if name not in target.columns]
    if unknown:
        raise ConfigurationError(
            f"table {map.source}: {map.resource} takes no {unknown[0]!r}; "
            f"it takes {', '.join(target.columns)}"
        )
    for field in structs.fields(target.create):
        if field.required and field.name not in map.columns:
            raise ConfigurationError(f"table {map.source}: {map.resource} needs {field.name!r}")


def _lookup(parent: Any, place: str) -> Lookup:
    key = parent.repository.natural_key
    if len(key) != 1:
        raise ConfigurationError(
            f"{place}: a lookup needs a natural key of one column, {parent.name} has {len(key)}"
        )
    return Lookup(parent.repository.table, key[0])
