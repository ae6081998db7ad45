"""Cursors inside the current transaction: DECLARE, FETCH and CLOSE as statements, so that both
drivers run them as steps of an Operation."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from zlib import crc32

from sqlalchemy import ClauseElement, Executable, Select, text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler


class Stream(NamedTuple):
    """One open cursor: the `number`-th of its transaction, over `columns` of `table`; `fields` are
    what the caller wants to see of them, if not all."""

    table: str
    columns: Sequence[str]
    number: int
    fields: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The drivers keep a FETCH prepared by its text, with the columns that it gave back; so
        two cursors of different columns never share a name."""
        return f"stream_{self.number}_{crc32(' '.join((self.table, *self.columns)).encode()):08x}"

    def declare(self, chosen: Select[Any]) -> Executable:
        return _Declare(self.name, chosen)

    def fetch(self, batch: int) -> Executable:
        return text(f"FETCH FORWARD {batch:d} FROM {self.name}")

    def close(self) -> Executable:
        return text(f"CLOSE {self.name}")


class _Declare(Executable, ClauseElement):
    """DECLARE … CURSOR FOR a select, with the parameters of the select."""

    inherit_cache = False

    def __init__(self, name: str, chosen: Select[Any]) -> None:
        self.name, self.chosen = name, chosen


@compiles(_Declare)
def _declare(element: _Declare, compiler: SQLCompiler, **options: Any) -> str:
    chosen = compiler.process(element.chosen, **options)
    return f"DECLARE {element.name} NO SCROLL CURSOR FOR {chosen}"
