"""A new resource as the text of its file, written as one writes it by hand."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from saas.dev.scaffold_fields import Field

LINE_LENGTH = 100
_MODULES = {
    "date": "datetime",
    "datetime": "datetime",
    "Annotated": "typing",
    "Any": "typing",
    "UUID": "uuid",
    "UNSET": "msgspec",
    "Meta": "msgspec",
    "UnsetType": "msgspec",
    "Date": "sqlalchemy",
    "String": "sqlalchemy",
    "Mapped": "sqlalchemy.orm",
    "mapped_column": "sqlalchemy.orm",
    "TenantModel": "saas.db.models",
    "reference": "saas.db.models",
    "Resource": "saas.web.resource",
    "BigInt": "saas.web.schemas",
    "Create": "saas.web.schemas",
    "Read": "saas.web.schemas",
    "Update": "saas.web.schemas",
}
_SECTIONS = (
    ("datetime", "typing", "uuid"),
    ("msgspec", "sqlalchemy", "sqlalchemy.orm"),
    ("saas.db.models", "saas.web.resource", "saas.web.schemas"),
)
IMPORTED = frozenset(_MODULES)
"""Every name that a written file may import."""


class Wish(NamedTuple):
    """A resource to write; `search` and `natural_key` name columns."""

    name: str
    model: str
    fields: tuple[Field, ...]
    search: tuple[str, ...] = ()
    natural_key: tuple[str, ...] = ()


def class_name(words: str) -> str:
    return "".join(word.capitalize() for word in words.split("_"))


def source_of(wish: Wish) -> str:
    """The whole file, in the form of ruff."""
    types = _own_types(wish)
    parts = [
        "\n".join(f"{name} = Annotated[{f.kind.python}, Meta({f.kind.meta})]" for f, name in types),
        _model(wish),
        _schema(wish, "Create", _create_lines(wish.fields, dict(types))),
        _schema(wish, "Update", _update_lines(wish.fields, dict(types))),
        _schema(wish, "Read", [f"{f.name}: {_optional(f, f.kind.python)}" for f in wish.fields]),
        _declaration(wish),
    ]
    body = "\n\n\n".join(part for part in parts if part)
    # One blank line after imports, but two before a class.
    gap = "\n" if types else "\n\n"
    return f'"""{_title(wish)}"""\n\n{_imports(body)}{gap}{body}\n'


def _title(wish: Wish) -> str:
    parents = [field.parent for field in wish.fields if field.parent]
    owner = f"a tenant's {parents[0].replace('_', ' ')}" if parents else "a tenant"
    return f"{wish.name.replace('_', ' ').capitalize()} of {owner}."


def _own_types(wish: Wish) -> list[tuple[Field, str]]:
    """Names for the types of bodies that have bounds, each named for its field."""
    taken = {
        *IMPORTED,
        wish.model,
        *(f"{wish.model}{kind}" for kind in ("Create", "Update", "Read")),
    }
    types = []
    for field in wish.fields:
        if field.kind.meta:
            name = class_name(field.name)
            while name in taken:
                name += "Value"
            taken.add(name)
            types.append((field, name))
    return types


def _model(wish: Wish) -> str:
    lines = [f"class {wish.model}(TenantModel):", f'    __tablename__ = "{wish.name}"', ""]
    for field in wish.fields:
        head = f"    {field.name}: Mapped[{_optional(field, field.kind.python)}]"
        if field.parent is not None:
            nullable = ["nullable=True"] if field.is_nullable else []
            lines.append(call(f"{head} = reference", [f'"{field.parent}"', *nullable]))
        elif field.kind.column:
            lines.append(call(f"{head} = mapped_column", [field.kind.column]))
        else:
            lines.append(head)
    return "\n".join(lines)


def _schema(wish: Wish, base: str, lines: Iterable[str]) -> str:
    return "\n".join([f"class {wish.model}{base}({base}):", *(f"    {line}" for line in lines)])


def _create_lines(fields: Iterable[Field], types: dict[Field, str]) -> Iterator[str]:
    for field in fields:
        type_ = _optional(field, _in_a_body(field, types))
        yield f"{field.name}: {type_}{' = None' if field.is_nullable else ''}"


def _update_lines(fields: Iterable[Field], types: dict[Field, str]) -> Iterator[str]:
    for field in fields:
        type_ = _optional(field, f"{_in_a_body(field, types)} | UnsetType")
        yield f"{field.name}: {type_} = UNSET"


def _in_a_body(field: Field, types: dict[Field, str]) -> str:
    return types.get(field) or field.kind.body or field.kind.python


def _optional(field: Field, type_: str) -> str:
    return f"{type_} | None" if field.is_nullable else type_


def _declaration(wish: Wish) -> str:
    arguments = [wish.model, *(f"{wish.model}{kind}" for kind in ("Create", "Update", "Read"))]
    for option, names in (("search", wish.search), ("natural_key", wish.natural_key)):
        if names:
            arguments.append(f"{option}={_tuple(names)}")
    return call(f"{wish.name} = Resource", arguments)


def _tuple(names: Sequence[str]) -> str:
    listed = ", ".join(f'"{name}"' for name in names)
    return f"({listed},)" if len(names) == 1 else f"({listed})"


def call(head: str, arguments: Sequence[str]) -> str:
    """On one line, or with the arguments on the next, or each on its own: as ruff breaks it."""
    indent = " " * (len(head) - len(head.lstrip()))
    joined = ", ".join(arguments)
    if len(f"{head}({joined})") <= LINE_LENGTH:
        return f"{head}({joined})"
    if len(f"{indent}    {joined}") <= LINE_LENGTH:
        return f"{head}(\n{indent}    {joined}\n{indent})"
    return "\n".join([f"{head}(", *(f"{indent}    {one}," for one in arguments), f"{indent})"])


def _imports(body: str) -> str:
    used: dict[str, list[str]] = defaultdict(list)
    for name in set(re.findall(r"\w+", body)) & IMPORTED:
        used[_MODULES[name]].append(name)
    sections = (
        "".join(
            f"from {module} import {', '.join(sorted(used[module], key=_import_order))}\n"
            for module in section
            if module in used
        )
        for section in _SECTIONS
    )
    return "\n".join(section for section in sections if section)


def _import_order(name: str) -> tuple[bool, bool, str]:
    """Constants, then classes, then functions."""
    return not name.isupper(), name[0].islower(), name
