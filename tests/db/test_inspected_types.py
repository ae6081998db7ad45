"""What a type may be, whatever is told of it beside."""

from typing import Annotated, Any

import pytest
from msgspec import Meta
from msgspec.inspect import IntType, NoneType, StrType

from saas.db.inspected_types import members

Told = Meta(description="A code.")
Code = Annotated[str, Meta(max_length=9, description="A code.")]


@pytest.mark.parametrize(
    ("annotation", "kinds"),
    [
        (str, {StrType}),
        (Code, {StrType}),
        (Code | None, {StrType, NoneType}),
        (Annotated[str | None, Told], {StrType, NoneType}),
        (Annotated[Code | int | None, Told], {StrType, IntType, NoneType}),
    ],
)
def test_descriptions_and_unions_are_looked_through(annotation: Any, kinds: set[Any]) -> None:
    assert {type(member) for member in members(annotation)} == kinds
