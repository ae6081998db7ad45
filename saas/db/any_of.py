"""The syntax of `or=(status.eq.done,name.in.("a, b",c))`: text into terms. What a field, operator
or value means is the grammar's business."""

import re
from typing import NamedTuple

from saas.db.query_values import Refused

_HEAD = re.compile(r'([^.,()"]+)\.([^.,()"]+)\.')
_BARE = re.compile(r'[^.,()"]+')
_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"')
_ESCAPED = re.compile(r"\\(.)")
_HINT = (
    "Write (field.operator.value,…), for in and nin (field.in.(a,b),…). An empty value, and one "
    'with any of , . ( ) ", stands in double quotes, where \\" and \\\\ are the two escapes.'
)


class Term(NamedTuple):
    """One alternative as it is written: a tuple of texts where it has a bracketed list."""

    field: str
    operator: str
    value: str | tuple[str, ...]


def parse_any_of(text: str) -> list[Term]:
    """At least one term. Raises Refused, naming the character where the text goes wrong."""
    reader = _Reader(text)
    reader.expect("(")
    terms = [_term(reader)]
    while reader.skip(","):
        terms.append(_term(reader))
    reader.expect(")")
    reader.expect_end()
    return terms


def _term(reader: "_Reader") -> Term:
    head = reader.take(_HEAD)
    if head is None:
        raise reader.refusal("field.operator.value")
    if not reader.skip("("):
        return Term(head[1], head[2], _value(reader))
    values = [_value(reader)]
    while reader.skip(","):
        values.append(_value(reader))
    reader.expect(")")
    return Term(head[1], head[2], tuple(values))


def _value(reader: "_Reader") -> str:
    if quoted := reader.take(_QUOTED):
        return _ESCAPED.sub(r"\1", quoted[1])
    bare = reader.take(_BARE)
    if bare is None:
        raise reader.refusal("a value")
    return bare[0]


class _Reader:
    """A text and how far it has been read."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self._text, self._at)
        if found:
            self._at = found.end()
        return found

    def skip(self, mark: str) -> bool:
        is_there = self._text.startswith(mark, self._at)
        self._at += is_there
        return is_there

    def expect(self, mark: str) -> None:
        if not self.skip(mark):
            raise self.refusal(mark if mark == "(" else f", or {mark}")

    def expect_end(self) -> None:
        if self._at < len(self._text):
            raise self.refusal("the end")

    def refusal(self, expected: str) -> Refused:
        return Refused(f"At character {self._at + 1}: expected {expected}. {_HINT}")
