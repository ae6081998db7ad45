"""What is wrong with a body, as field errors with RFC 6901 pointers, from msgspec's messages.

msgspec stops at the first fault. Only once there is one, the fields of the top level are tried
apart, so that a form with three wrong fields hears of all three.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from itertools import islice
from typing import Annotated, Any, get_args, get_origin

import msgspec

from saas.errors import FieldError

_MOST_FAULTS = 50
# In bytes. People's forms are smaller; to take a body of a million fields apart takes seconds, in
# which nobody else is served.
_LARGEST_FORM = 100_000
# In characters: an answer is not to echo a name of megabytes.
_LONGEST_NAME = 200
_STEP = re.compile(r"\.([^.\[\]`]+)|\[(\d+)\]|(\[\.\.\.\])")
_NAMED_FIELD = re.compile(r"Object (missing required|contains unknown) field `(.*)`", re.DOTALL)
_MISSING = FieldError("", "missing_field", "The field is missing.")
_UNKNOWN = FieldError("", "unknown_field", "There is no such field.")
_CODES = (
    (re.compile(r"Expected `.*` of length >"), "too_short"),
    (re.compile(r"Expected `.*` of length <"), "too_long"),
    (re.compile(r"Expected `.*` of length"), "wrong_length"),
    (re.compile(r"Expected `.*` matching regex"), "wrong_pattern"),
    (re.compile(r"Expected `.*` with (a|no) timezone"), "invalid_format"),
    (re.compile(r"Expected `.*` (<|>|that's a multiple of)"), "out_of_range"),
    (re.compile(r"(Integer value|Number) out of range"), "out_of_range"),
    (re.compile(r"Invalid (enum )?value"), "unknown_value"),
    (re.compile(r"Expected `.*`, got"), "wrong_type"),
    (re.compile(r"Invalid "), "invalid_format"),
)


def field_error(message: str, parent: str = "") -> FieldError:
    """The fault that a message of msgspec tells; `parent` points to what was being decoded."""
    reason, _, path = message.rpartition(" - at `")
    if not reason:
        reason, path = message, ""
    pointer = parent + _pointer(path)
    if named := _NAMED_FIELD.fullmatch(reason):
        fault = _MISSING if named[1].startswith("missing") else _UNKNOWN
        return fault._replace(pointer=f"{pointer}/{_named(named[2])}")
    return FieldError(pointer, fault_code(reason), f"{reason}.")


def fault_code(reason: str) -> str:
    """The stable word for a reason of msgspec."""
    return next((code for pattern, code in _CODES if pattern.match(reason)), "invalid")


def escaped(name: str) -> str:
    """`name` as one step of a JSON pointer (RFC 6901, section 3)."""
    return name.replace("~", "~0").replace("/", "~1")


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
    return faults or [field_error(str(first))]


def _named(name: str) -> str:
    """A step that the caller has named, cut where no field could be so long."""
    return escaped(name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…")


def _pointer(path: str) -> str:
    steps = []
    for name, index, anything in _STEP.findall(path):
        if anything:  # A key of a map: msgspec does not say which, so point to the map.
            break
        steps.append("/" + (escaped(name) or index))
    return "".join(steps)


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
                yield _MISSING._replace(pointer="/" + escaped(field.encode_name))
            continue
        try:
            _decoder(field.type).decode(value)
        except msgspec.ValidationError as error:
            yield field_error(str(error), "/" + escaped(field.encode_name))
    if struct.__struct_config__.forbid_unknown_fields:
        for name in fields:
            yield _UNKNOWN._replace(pointer="/" + _named(name))


@lru_cache(maxsize=1024)
def _decoder(annotation: Any) -> "msgspec.json.Decoder[Any]":
    return msgspec.json.Decoder(annotation, strict=True)
