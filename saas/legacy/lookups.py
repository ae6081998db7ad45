"""References by the natural key of the row that they mean: the ids of many at once."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Table, any_, bindparam

from saas.db.tenant_select import fetch_all, tenant_select

_MOST_REMEMBERED = 200_000


class Lookup:
    """Finds live rows of `table` in the bound tenant by `column`, which is unique among them."""

    def __init__(self, table: Table, column: str) -> None:
        self._table = table
        self._column = table.c[column]
        self._ids: dict[Any, UUID] = {}

    async def ids(self, keys: Iterable[Any]) -> dict[Any, UUID]:
        """The id of each of `keys` that there is, read in the current transaction."""
        wanted = {key for key in keys if self._is_key(key)}
        unknown = list(wanted - self._ids.keys())
        if unknown:
            if len(self._ids) + len(unknown) > _MOST_REMEMBERED:
                self._ids.clear()
                unknown = list(wanted)
            values = bindparam("wanted", unknown, type_=ARRAY(self._column.type))
            found = tenant_select(self._column, self._table.c.id)
            for key, id in await fetch_all(found.where(self._column == any_(values))):
                self._ids[key] = id
        return {key: self._ids[key] for key in wanted if key in self._ids}

    def _is_key(self, key: Any) -> bool:
        # Of another type there is no row, and asking for it would fail all the others.
        return isinstance(key, self._column.type.python_type)
