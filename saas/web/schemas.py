"""The bases of request and response bodies: plain msgspec Structs, strict about what they take."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from saas.db.row_schema import Read
from saas.texts import NotBlank

__all__ = [
    "BigInt",
    "Create",
    "NotBlank",
    "Read",
    "Update",
    "Version",
    "values_of",
    "without_field",
]

# PostgreSQL's bigint; a larger integer is refused here instead of by the database.
BigInt = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Version = Annotated[int, Meta(ge=1, le=2**31 - 1)]


class Create(Struct, kw_only=True, forbid_unknown_fields=True):
    """The body of a create. Protected fields are unknown fields here, and so refused."""


class Update(Struct, kw_only=True, forbid_unknown_fields=True):
    """The body of a PATCH (RFC 7396): an absent field stays, null clears. `version` is a
    precondition, never a value. Every field of a child is `T | UnsetType = UNSET`."""

    version: Version | UnsetType = UNSET


def values_of(body: Struct) -> dict[str, object]:
    """The given fields of a body, by column name, without the unset ones and `version`."""
    values = msgspec.structs.asdict(body)
    values.pop("version", None)
    if UNSET in values.values():
        return {name: value for name, value in values.items() if value is not UNSET}
    return values


def without_field(body: type[Struct], name: str) -> type[Struct]:
    """The same body where the field goes without saying: it is an unknown one there."""
    fields = [field for field in msgspec.structs.fields(body) if field.name != name]
    return msgspec.defstruct(
        f"{body.__name__}Without{name.title().replace('_', '')}",
        [(f.name, f.type) if f.required else (f.name, f.type, _default(f)) for f in fields],
        kw_only=True,
        forbid_unknown_fields=True,
    )


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return msgspec.field(default_factory=field.default_factory)
    return field.default
