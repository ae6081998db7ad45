"""Which Python values a column takes. asyncpg and psycopg would each make something of others: an
integer column that is given 5.9 holds 5 by the one, and 6 by the other."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import date, datetime
from decimal import Decimal
from types import NoneType
from typing import Any
from uuid import UUID

from sqlalchemy import Column, Table

from saas.errors import FieldError

# Each with those that both drivers take for the same.
_TAKEN: Mapping[type, tuple[type, ...]] = {
    bool: (bool,),
    int: (int,),
    float: (float, int, Decimal),
    Decimal: (Decimal, int, float),
    str: (str,),
    bytes: (bytes, bytearray, memoryview),
    UUID: (UUID, str),
    date: (date,),
    datetime: (datetime,),
}


class ValueTypes:
    """What the columns of `table` take. Of lists, documents and types of one's own it knows
    nothing, so those are left to the database."""

    def __init__(self, table: Table) -> None:
        wanted = {column.name: _python_type(column) for column in table.c}
        # With the types that need no closer look.
        self._wanted = {
            name: (type_, {type_, NoneType}) for name, type_ in wanted.items() if type_ in _TAKEN
        }

    def fault(self, name: str, kinds: AbstractSet[type]) -> FieldError | None:
        """Why one of these types cannot be that of a value of the column."""
        if name not in self._wanted:
            return None
        wanted, plain = self._wanted[name]
        for given in () if kinds <= plain else kinds - plain:
            # To Python a bool is an int, and a datetime a date.
            if not issubclass(given, _TAKEN[wanted]) or _is_more(given, wanted):
                message = f"Expected `{wanted.__name__}`, got `{given.__name__}`."
                return FieldError(f"/{name}", "wrong_type", message)
        return None


def _is_more(given: type, wanted: type) -> bool:
    return any(issubclass(given, more) and wanted is not more for more in (bool, datetime))


def _python_type(column: Column[Any]) -> type:
    try:
        return column.type.python_type
    except NotImplementedError:
        return object
