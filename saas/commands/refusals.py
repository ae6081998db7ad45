"""Refusals in the words of whoever typed the command. Over HTTP a row that is absent stays without
a name, so that nobody learns of another's; the operator may know which name was wrong."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec

from saas.db.value_faults import field_error
from saas.errors import ConfigurationError, Invalid, NotFound


@contextmanager
def naming(absent: str) -> Iterator[None]:
    """Let a NotFound of the block say what there is none of: `tenant acme`."""
    try:
        yield
    except NotFound:
        raise NotFound(f"There is no {absent}.") from None


@contextmanager
def naming_plan(slug: str | None) -> Iterator[None]:
    """Let the refusal of an unknown plan say which one was asked for."""
    try:
        yield
    except Invalid as refusal:
        if [(fault.pointer, fault.code) for fault in refusal.errors] != [_UNKNOWN_PLAN]:
            raise
        raise NotFound(f"There is no plan {slug}.") from None


def checked(value: Any, kind: Any, names: str | Mapping[str, str]) -> Any:
    """`value`, as the body of a request would have to hold it. `names` is what the command calls
    it, or each part of it by its JSON pointer. Raises ConfigurationError with what is right."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        fault = field_error(str(error), kind)
        name = names if isinstance(names, str) else names.get(fault.pointer, fault.pointer)
        raise ConfigurationError(f"{name}: {fault.message}") from None


_UNKNOWN_PLAN = ("/plan", "unknown_reference")
