"""The types of bound arrays and of rows made of jsonb, where SQL writes the type out."""

from typing import Any

from sqlalchemy import String, Text
from sqlalchemy.types import TypeEngine


def without_length(column_type: TypeEngine[Any]) -> TypeEngine[Any]:
    """The type of a column whose values are not to be cut: a cast to varchar(n) shortens a text
    without a word, so that a comparison finds what it must not and a write stores what nobody sent.
    The column itself refuses what is too long."""
    return Text() if isinstance(column_type, String) and column_type.length else column_type
