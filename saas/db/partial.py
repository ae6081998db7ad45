"""Rows of which only some fields are read: the `fields=` of lists and single rows."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec


class Shape(NamedTuple):
    """The columns to select, and what makes a row of their values."""

    columns: tuple[str, ...]
    make: Callable[..., Any]


@lru_cache(maxsize=256)
def shape_for(read: type[msgspec.Struct], fields: tuple[str, ...] = ()) -> Shape:
    """`read` itself for no fields; else a Struct of these fields alone, in their order. Bounded,
    because callers choose the fields. Raises ValueError for one that `read` lacks."""
    columns = read.__struct_fields__
    if not fields:
        return Shape(columns, read)
    unknown = [name for name in fields if name not in columns]
    if unknown:
        raise ValueError(f"{read.__name__} has no field {unknown[0]!r}; it has {columns}")
    partial = msgspec.defstruct(f"{read.__name__}Fields", fields)
    if not hasattr(read, "__post_init__"):
        return Shape(fields, partial)

    # What the whole row makes of its values can depend on all of them.
    def make(*values: Any) -> msgspec.Struct:
        row = read(*values)
        return partial(*(getattr(row, name) for name in fields))

    return Shape(columns, make)


def narrowed(row: msgspec.Struct, fields: tuple[str, ...]) -> msgspec.Struct:
    """Only these fields of `row`, which has them all."""
    kind = shape_for(type(row), fields)
    narrow: msgspec.Struct = kind.make(*(getattr(row, name) for name in kind.columns))
    return narrow
