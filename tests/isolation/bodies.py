"""Valid bodies for any Struct, made from its types, so that a new resource needs no word here."""

import itertools
import re
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from msgspec import inspect

from isolation.surface import Pointer, members
from saas.db.inspected_types import flat

_numbers = itertools.count(1)
_LARGE = 7_000_000_000
# A text with a pattern is the first of these that it takes; `{}` is a text of the tenant.
_SHAPES = (
    "{}",
    "{}@{}.test",
    "https://{}.test/",
    "+15550100",
    "Europe/Berlin",
    "EUR",
    "en",
    "#a1b2c3",
    "2026-01-31",
    "12345",
    "projects:read",
)
# A precondition of a PATCH, not a value.
_PRECONDITION = "version"


def body_of(
    struct: Any, marker: str, parents: Mapping[str, str], references: Mapping[str, str]
) -> dict[str, Any]:
    """A body whose texts all carry `marker` and none of which was there before. `references` maps
    a field to the table that it refers to, `parents` a table to the id of a row in it."""
    return _Body(marker, parents, references).struct(_present(inspect.type_info(struct)))


def with_value(body: Any, pointer: Pointer, value: Any) -> Any:
    """A copy of `body` with another value at `pointer`. Of a list only that item is kept: another
    one must not decide over the answer."""
    if not pointer:
        return value
    first, *rest = pointer
    changed = with_value(body[first], tuple(rest), value)
    return [changed] if isinstance(body, list) else {**body, first: changed}


def _kinds(body: Any) -> tuple[inspect.Type, ...]:
    """The body, or what it may be: one that can be left out is a Struct or null."""
    return tuple(flat(inspect.type_info(body)))


class _Body:
    def __init__(
        self, marker: str, parents: Mapping[str, str], references: Mapping[str, str]
    ) -> None:
        self._marker = marker
        self._parents = parents
        self._references = references

    def struct(self, kind: Any) -> dict[str, Any]:
        tag = {kind.tag_field: kind.tag} if kind.tag_field else {}
        return tag | {
            field.encode_name: self._value(field.encode_name, field.type)
            for field in kind.fields
            if field.encode_name != _PRECONDITION
        }

    def _value(self, name: str, kind: inspect.Type) -> Any:
        kind = _present(kind)
        if isinstance(kind, inspect.UUIDType):
            return self._parents.get(self._references.get(name, ""), str(uuid4()))
        if isinstance(kind, inspect.StructType):
            return self.struct(kind)
        if isinstance(kind, inspect.ListType):
            # One item even where none is needed: an id may stand in it.
            return [self._value(name, one) for one in members(kind.item_type)]
        if isinstance(kind, inspect.LiteralType):
            return kind.values[0]
        if isinstance(kind, inspect.EnumType):
            return next(iter(kind.cls)).value
        if isinstance(kind, inspect.StrType):
            lengths = {"least": kind.min_length, "most": kind.max_length}
            return text_for(self._marker, **lengths, pattern=kind.pattern)
        return _scalar(name, kind)


def _present(kind: inspect.Type) -> inspect.Type:
    """What may be left out, as it is where it is not."""
    return next(one for one in flat(kind) if not isinstance(one, inspect.NoneType))


def text_for(
    marker: str, *, least: int | None = None, most: int | None = None, pattern: str | None = None
) -> str:
    """A new text that carries `marker`, within these lengths, that `pattern` finds."""
    text = f"{marker}{next(_numbers)}"
    for shape in _SHAPES:
        made = shape.replace("{}", text)[-(most or 200) :].ljust(least or 0, "x")
        if pattern is None or re.search(pattern, made):
            return made
    raise LookupError(f"no text is known that matches {pattern}: add one to _SHAPES")


def _scalar(name: str, kind: inspect.Type) -> Any:
    if isinstance(kind, inspect.BoolType):
        return True
    if isinstance(kind, inspect.IntType):
        return _integer(kind)
    if isinstance(kind, inspect.FloatType):
        return float(kind.ge or kind.le or 1)
    if isinstance(kind, inspect.DateType):
        return "2027-01-31"
    if isinstance(kind, inspect.DateTimeType):
        return "2027-01-31T09:00:00Z"
    if isinstance(kind, inspect.DictType | inspect.AnyType | inspect.RawType):
        return {}
    raise LookupError(f"no value is known for {name}, a {type(kind).__name__}: add one here")


def _integer(kind: inspect.IntType) -> int:
    """Large where that is allowed, so that it stands out in an answer as a text does."""
    most = kind.le if kind.le is not None else (kind.lt or 2**63) - 1
    least = kind.ge if kind.ge is not None else (kind.gt or -(2**63)) + 1
    number = max(least, min(most, _LARGE + next(_numbers)))
    step = kind.multiple_of or 1
    return int(number - number % step)
