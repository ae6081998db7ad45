"""What is wrong with a body: every fault of it where msgspec, which stops at the first, tells one.

Only once there is one, the fields of the top level are tried apart, so that a form with three wrong
fields hears of all three.
"""

from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from itertools import islice
from typing import Annotated, Any, get_args, get_origin

import msgspec

from saas.db.value_faults import MISSING, escaped, field_error, named_step, unknown_field
from saas.errors import FieldError

_MOST_FAULTS = 50
# In bytes. People's forms are smaller; to take a body of a million fields apart takes seconds, in
# which nobody else is served.
_LARGEST_FORM = 100_000


def all_faults(body: bytes, annotation: Any, first: msgspec.ValidationError) -> list[FieldError]:
    """The fault of each top-level field of `body`, or `first` alone where the body is large or no
    plain object (a list, a union, a rule across fields)."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    faults: list[FieldError] = []
    if len(body) <= _LARGEST_FORM and _is_plain_struct(annotation):
        with suppress(ValueError, RecursionError):
            fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
            faults = list(islice(_struct_faults(fields, annotation), _MOST_FAULTS))
    return faults or [field_error(str(first), annotation)]


def _is_plain_struct(annotation: Any) -> bool:
    return (
        isinstance(annotation, type)
        and issubclass(annotation, msgspec.Struct)
        and annotation.__struct_config__.tag is None
    )


def _struct_faults(fields: dict[str, msgspec.Raw], struct: Any) -> Iterator[FieldError]:
    for field in msgspec.structs.fields(struct):
        value = fields.pop(field.encode_name, None)
        if value is None:
            if field.required:
                yield MISSING._replace(pointer="/" + escaped(field.encode_name))
            continue
        try:
            _decoder(field.type).decode(value)
        except msgspec.ValidationError as error:
            yield field_error(str(error), field.type, "/" + escaped(field.encode_name))
    if struct.__struct_config__.forbid_unknown_fields:
        for name in fields:
            yield unknown_field("/" + named_step(name), struct)


@lru_cache(maxsize=1024)
def _decoder(annotation: Any) -> "msgspec.json.Decoder[Any]":
    return msgspec.json.Decoder(annotation, strict=True)
