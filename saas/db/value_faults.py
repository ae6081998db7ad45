"""What is wrong with a value, as field errors with RFC 6901 pointers, from msgspec's messages."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from saas.db.expected_values import expected
from saas.errors import FieldError

MISSING = FieldError("", "missing_field", "The field is missing.")

# In characters: an answer is not to echo a name of megabytes.
_LONGEST_NAME = 200
# An escape, not the six letters behind an escaped backslash.
_NUL_ESCAPE = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_STEP = re.compile(r"\.([^.\[\]`]+)|\[(\d+)\]|(\[\.\.\.\])")
_NAMED_FIELD = re.compile(r"Object (missing required|contains unknown) field `(.*)`", re.DOTALL)
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


def holds_nul(document: bytes) -> bool:
    """Whether a text in this valid JSON holds U+0000, which PostgreSQL's text cannot. Raw it is no
    JSON; escaped, cheap looks find it: most documents have no escape at all."""
    if b"\\" not in document or b"\\u0000" not in document:
        return False
    return _NUL_ESCAPE.search(document) is not None


def field_error(message: str, annotation: Any, parent: str = "") -> FieldError:
    """The fault that a message of msgspec tells; what was being decoded is an `annotation`, and
    `parent` points to it."""
    reason, _, path = message.rpartition(" - at `")
    if not reason:
        reason, path = message, ""
    steps = list(_steps(path))
    pointer = parent + "".join(f"/{escaped(step)}" for step in steps)
    if named := _NAMED_FIELD.fullmatch(reason):
        pointer = f"{pointer}/{named_step(named[2])}"
        if named[1].startswith("missing"):
            return MISSING._replace(pointer=pointer)
        return unknown_field(pointer, annotation, steps)
    code = fault_code(reason)
    return FieldError(pointer, code, expected(code, annotation, steps) or f"{reason}.")


def unknown_field(pointer: str, annotation: Any, path: Sequence[str] = ()) -> FieldError:
    """The fault of a field that the object at `path` in a value of the type does not take."""
    code = "unknown_field"
    return FieldError(pointer, code, expected(code, annotation, path) or "There is no such field.")


def fault_code(reason: str) -> str:
    """The stable word for a reason of msgspec."""
    return next((code for pattern, code in _CODES if pattern.match(reason)), "invalid")


def escaped(name: str) -> str:
    """`name` as one step of a JSON pointer (RFC 6901, section 3)."""
    return name.replace("~", "~0").replace("/", "~1")


def named_step(name: str) -> str:
    """A step that the caller has named, cut where no field could be so long."""
    return escaped(name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…")


def _steps(path: str) -> Iterator[str]:
    for name, index, anything in _STEP.findall(path):
        if anything:  # A key of a map: msgspec does not say which, so point to the map.
            return
        yield name or index
