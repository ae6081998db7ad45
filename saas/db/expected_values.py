"""What a type takes, in words, where msgspec's message tells only what was given."""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from msgspec import inspect

from saas.db.inspected_types import flat

_MOST_VALUES = 50


def expected(code: str, annotation: Any, path: Sequence[str]) -> str | None:
    """The sentence on what may stand at `path` in a value of the type `annotation`: the values of
    an enumeration or a tag, the fields of an object, or the `description` beside the pattern of a
    text. None where there is nothing to add to msgspec's message."""
    if code == "wrong_pattern":
        return next(_descriptions(_inspected(annotation), path), None)
    if code == "unknown_value":
        return _listed("Expected one of {}.", _values(_inspected(annotation), path))
    if code == "unknown_field":
        fields = _fields(_inspected(annotation), path)
        return _listed("There is no such field. Allowed: {}.", fields)
    return None


def _listed(sentence: str, values: Iterable[object]) -> str | None:
    # dict: in the order of the type, each once.
    named = [f"`{value}`" for value in dict.fromkeys(values)]
    return sentence.format(", ".join(named)) if 0 < len(named) <= _MOST_VALUES else None


@lru_cache(maxsize=1024)
def _inspected(annotation: Any) -> inspect.Type:
    return inspect.type_info(annotation)


def _at(kind: inspect.Type, path: Sequence[str]) -> Iterator[inspect.Type]:
    """The types at `path`, as they are annotated."""
    if not path:
        yield kind
        return
    for member in flat(kind):
        if isinstance(member, inspect.StructType):
            for field in member.fields:
                if field.encode_name == path[0]:
                    yield from _at(field.type, path[1:])
        elif isinstance(member, inspect.CollectionType):
            yield from _at(member.item_type, path[1:])


def _values(kind: inspect.Type, path: Sequence[str]) -> Iterator[object]:
    for member in (member for found in _at(kind, path) for member in flat(found)):
        if isinstance(member, inspect.LiteralType):
            yield from member.values
        elif isinstance(member, inspect.EnumType):
            yield from (one.value for one in member.cls)
    if path:
        for member in (member for found in _at(kind, path[:-1]) for member in flat(found)):
            if isinstance(member, inspect.StructType) and member.tag_field == path[-1]:
                yield member.tag


def _fields(kind: inspect.Type, path: Sequence[str]) -> Iterator[str]:
    for found in _at(kind, path):
        structs = [one for one in flat(found) if isinstance(one, inspect.StructType)]
        # Of several it is not known which one was meant.
        if len(structs) == 1:
            yield from (field.encode_name for field in structs[0].fields)


def _descriptions(kind: inspect.Type, path: Sequence[str]) -> Iterator[str]:
    for found in _at(kind, path):
        for one in found.types if isinstance(found, inspect.UnionType) else (found,):
            schema = one.extra_json_schema if isinstance(one, inspect.Metadata) else None
            if schema and "description" in schema:
                yield schema["description"]
