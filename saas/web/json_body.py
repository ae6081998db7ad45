"""JSON bytes to a typed value, or the refusal that says what is wrong with them.

A name that stands twice in one object counts with its last value (RFC 8259 leaves that open).
"""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import msgspec

from saas.db.value_faults import escaped, holds_nul
from saas.errors import BadRequest, FieldError, Invalid
from saas.web.body_faults import all_faults

# 2**63 has 19 digits. Digits become zeros and the rest blanks, so that one search finds a long
# number: ten times as fast as a regular expression.
_DIGITS_TO_ZERO = bytes(0x30 if 0x30 <= byte <= 0x39 else 0x20 for byte in range(256))
_LONG_NUMBER = b"0" * 19
# It may stand in a text, as times in nanoseconds do; few texts have it where a number can begin.
_LONG_VALUE = re.compile(rb"(?:\A|[:,\[])\s*-?[0-9]{19}")
# Looks at all of it and makes nothing of it.
_WELL_FORMED = msgspec.json.Decoder(msgspec.Raw)
_SMALLEST, _LARGEST = -(2**63), 2**63 - 1

_HALF_PAIR = "It ends too early, or a surrogate such as \\ud800 stands without its other half"
_NUL = FieldError("", "invalid_text", "The text holds a NUL character, which cannot be stored.")
_BIG = FieldError("", "out_of_range", "The number has more than 64 bits.")


class BodyDecoder:
    """Strict decoder of one type: `"12"` is no integer. Keep it: to build one costs more than to
    decode a body."""

    def __init__(self, annotation: Any) -> None:
        self._annotation = annotation
        self._decode = msgspec.json.Decoder(annotation, strict=True).decode

    def decode(self, body: bytes) -> Any:
        """Raises BadRequest where `body` is no JSON, Invalid where it is JSON of another shape,
        with pointers."""
        try:
            value = _parsed(self._decode, body)
        except RecursionError:
            raise BadRequest("The body is nested too deeply.") from None
        except msgspec.ValidationError as error:
            # Behind the first fault there may be no JSON at all.
            with suppress(RecursionError):
                _parsed(_WELL_FORMED.decode, body)
            raise Invalid(errors=all_faults(body, self._annotation, error)) from None
        if holds_nul(body):
            _refuse(body, _has_nul, _NUL)
        # A bigint holds no more, and not every integer field has bounds.
        if _LONG_NUMBER in body.translate(_DIGITS_TO_ZERO) and _LONG_VALUE.search(body):
            _refuse(body, _is_big, _BIG)
        return value


def _parsed(decode: Callable[[bytes], Any], body: bytes) -> Any:
    """Raises BadRequest where `body` is no JSON, ValidationError where it is JSON of another
    shape."""
    try:
        return decode(body)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError as error:
        reason = _HALF_PAIR if b"\\ud" in body.lower() and "truncated" in str(error) else error
        raise BadRequest(f"The body is no valid JSON. {reason}.") from None
    except UnicodeDecodeError:
        raise BadRequest("The body is no valid UTF-8.") from None


def _refuse(body: bytes, is_bad: Callable[[Any], bool], fault: FieldError) -> None:
    """Raise Invalid if a value or key in `body` is bad, with its place: the bytes alone tell
    neither a number from its digits in a text nor where it stands."""
    pointer = _pointer_to(is_bad, msgspec.json.decode(body))
    if pointer is not None:
        raise Invalid(errors=[fault._replace(pointer=pointer)])


def _pointer_to(is_bad: Callable[[Any], bool], document: Any) -> str | None:
    """The place of the first bad value or key. Neither recursion nor a list of all places: depth
    and size are the caller's to choose."""
    names: list[str | int] = []
    levels = [_members([document])]
    while levels:
        for name, value in levels[-1]:
            if is_bad(value) or is_bad(name):
                return "".join(f"/{escaped(str(step))}" for step in [*names, name][1:])
            if isinstance(value, dict | list):
                names.append(name)
                levels.append(_members(value))
                break
        else:
            levels.pop()
            del names[-1:]
    return None


def _members(value: dict[str, Any] | list[Any]) -> Iterator[tuple[str | int, Any]]:
    return iter(value.items()) if isinstance(value, dict) else enumerate(value)


def _has_nul(value: Any) -> bool:
    return isinstance(value, str) and "\0" in value


def _is_big(value: Any) -> bool:
    return isinstance(value, int) and not _SMALLEST <= value <= _LARGEST
