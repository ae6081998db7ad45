"""JSON schemas of bodies, from the types that decode and encode them: what is documented is what is
checked. Litestar's own schemas lose bounds (a minimum of 0, those of an optional field)."""

import inspect
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec.inspect import CustomType, DateTimeType, Field, StructType, Type

from saas.db.inspected_types import flat

Json = dict[str, Any]

_REFERENCE = "#/components/schemas/{name}"
_INT64 = {"minimum": -(2**63), "maximum": 2**63 - 1}
_LARGEST_INT32 = 2**31 - 1
_NULL: Json = {"type": "null"}
# Where a schema holds other schemas: under any name, in a list, or as itself.
_NAMED, _LISTED, _SINGLE = ("properties", "$defs"), ("anyOf", "allOf"), ("items",)


def body_schemas(read: Iterable[Any], written: Iterable[Any]) -> tuple[list[Json], Json]:
    """A schema for each type of `read` (bodies that the API takes) and then of `written` (bodies
    that it answers with), and the components that they refer to."""
    taken, given = list(read), list(written)
    schemas, components = msgspec.json.schema_components([*taken, *given], ref_template=_REFERENCE)
    inputs = _reachable(schemas[: len(taken)], components)
    for name, component in components.items():
        for node in _nodes(component):
            _complete(node, is_input=name in inputs)
    for number, schema in enumerate(schemas):
        for node in _nodes(schema):
            _complete(node, is_input=number < len(taken))
    for struct in _structs(given):
        _mark_times(struct, components)
    return list(schemas), components


def is_documentable(annotation: Any) -> bool:
    """Whether msgspec knows how the type looks as JSON; it does not know a Response or an app."""
    try:
        kind = msgspec.inspect.type_info(annotation)
    except TypeError:
        return False
    return not isinstance(kind, CustomType)


def _nodes(schema: Any) -> Iterator[Json]:
    """`schema` and every schema inside it."""
    if not isinstance(schema, dict):
        return
    yield schema
    for key in _NAMED:
        for inner in schema.get(key, {}).values():
            yield from _nodes(inner)
    for key in _LISTED:
        for inner in schema.get(key, ()):
            yield from _nodes(inner)
    for key in (*_SINGLE, "additionalProperties"):
        yield from _nodes(schema.get(key))


def _complete(node: Json, *, is_input: bool) -> None:
    """What every schema says in the same way, whatever its type was annotated with."""
    if "description" in node:
        node["description"] = " ".join(inspect.cleandoc(node["description"]).split())
    if branch := _only_branch(node):
        del node["anyOf"]
        node.update({**branch, **node, "type": [branch["type"], "null"]})
    if all(isinstance(value, str) for value in node.get("enum", (None,))):
        node.setdefault("type", "string")
    if "integer" in node.get("type", ()):
        node.update({**(_INT64 if is_input else {}), **node})
        is_short = "minimum" in node and node.get("maximum", 2**63) <= _LARGEST_INT32
        node.setdefault("format", "int32" if is_short else "int64")


def _only_branch(node: Json) -> Json | None:
    """T, where `node` is no more than `T or null`: one schema of two types is simpler to show and
    to check. An enumeration would have to name null."""
    branches = node.get("anyOf", ())
    if len(branches) != 2 or _NULL not in branches:
        return None
    branch: Json = next(branch for branch in branches if branch != _NULL)
    return branch if "type" in branch and "enum" not in branch else None


def _reachable(schemas: Iterable[Any], components: Json) -> set[str]:
    """The names of the components that these schemas refer to, also by others."""
    found: set[str] = set()
    waiting = [node for schema in schemas for node in _nodes(schema)]
    while waiting:
        name = waiting.pop().get("$ref", "").rpartition("/")[2]
        if name and name not in found:
            found.add(name)
            waiting += _nodes(components[name])
    return found


def _structs(types: Iterable[Any]) -> Iterator[StructType]:
    """Every Struct inside these types."""
    waiting: list[Any] = list(msgspec.inspect.multi_type_info(types))
    seen: set[int] = set()
    while waiting:
        kind = waiting.pop()
        if not isinstance(kind, Type | Field) or id(kind) in seen:
            continue
        seen.add(id(kind))
        if isinstance(kind, StructType):
            yield kind
        for name in kind.__struct_fields__:
            value = getattr(kind, name)
            waiting += value if isinstance(value, tuple) else [value]


def _mark_times(struct: StructType, components: Json) -> None:
    """Times that we write have an offset, also where the annotation does not demand one."""
    (schema,), _ = msgspec.json.schema_components([struct.cls], ref_template=_REFERENCE)
    properties = components.get(schema["$ref"].rpartition("/")[2], {}).get("properties", {})
    for field in struct.fields:
        if any(isinstance(kind, DateTimeType) for kind in flat(field.type)):
            properties[field.encode_name].setdefault("format", "date-time")
