"""Types as msgspec sees them (`msgspec.inspect`), through unions and what is only told of them."""

from collections.abc import Iterator
from typing import Any

from msgspec import inspect


def members(annotation: Any) -> list[inspect.Type]:
    """What a value of the type may be: `Annotated[str | None, Meta(description=…)]` is a text or
    null. Raises TypeError for what is no type to msgspec."""
    return list(flat(inspect.type_info(annotation)))


def flat(kind: inspect.Type) -> Iterator[inspect.Type]:
    """`kind` without descriptions around it, and the members of a union one by one."""
    if isinstance(kind, inspect.Metadata):
        yield from flat(kind.type)
    elif isinstance(kind, inspect.UnionType):
        for member in kind.types:
            yield from flat(member)
    else:
        yield kind
