"""The fields of a new resource, read from the words of the command line: `name:type`."""

import re
from collections.abc import Collection, Iterable, Sequence
from keyword import iskeyword
from typing import NamedTuple

from saas.db.models import TenantModel
from saas.db.rls import quote
from saas.errors import ConfigurationError

MOST_CHARACTERS = 36
"""Of a resource's name: names made from it, such as ix_<name>_created, have at most 50, and the
lines that it stands in at most 100."""
_MOST_OF_A_FIELD = 30
IDENTIFIER = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*", re.ASCII)

# What a list or an export takes beside filters; a filter of the same name could not be told apart.
_PARAMETERS = frozenset(
    {"cursor", "deleted", "fields", "format", "include_total", "limit", "offset", "or", "q", "sort"}
)
# What the annotations of the written file are made of; a field of that name would hide it.
_IN_THE_FILE = frozenset(
    {"bool", "date", "datetime", "dict", "int", "mapped_column", "reference", "str"}
)


class Kind(NamedTuple):
    """How a type reads: as a Python type, as a column where the Python type says too little, and
    in a request's body, as a type or as the Meta of a type of its own."""

    python: str
    column: str = ""
    body: str = ""
    meta: str = ""


KINDS = {
    "str": Kind("str", column="String(200)", meta="min_length=1, max_length=200"),
    "text": Kind("str", meta="max_length=5_000"),
    "int": Kind("int", body="BigInt"),
    "bool": Kind("bool"),
    "date": Kind("date", column="Date"),
    # Without an offset nobody knows which moment is meant.
    "datetime": Kind("datetime", meta="tz=True"),
    "uuid": Kind("UUID"),
    "json": Kind("dict[str, Any]"),
}
# Not in a natural key: a document has no equality that people expect, and a long text is more
# than an index can hold.
_NO_KEY = ("text", "json")


class Field(NamedTuple):
    """`type` is a key of KINDS; `parent` is the table that a reference refers to."""

    name: str
    type: str
    is_nullable: bool
    parent: str | None = None

    @property
    def kind(self) -> Kind:
        return KINDS[self.type]


def parse_fields(words: Sequence[str], parents: Collection[str]) -> tuple[Field, ...]:
    """The required fields before those that may be null, which have a default in a body, and in
    both references first. Raises ConfigurationError."""
    fields = [_field(word, parents) for word in words]
    for field in fields:
        _check_name(field.name)
    names = [field.name for field in fields]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"the field {name} is given twice")
    return tuple(sorted(fields, key=lambda field: (field.is_nullable, field.parent is None)))


def chosen(wish: str, fields: Iterable[Field], option: str) -> tuple[str, ...]:
    """The columns that a comma list names. A reference may be named without its `_id`."""
    known = {field.name: field for field in fields}
    names: list[str] = []
    for word in filter(None, (part.strip() for part in wish.split(","))):
        name = f"{word}_id" if word not in known and f"{word}_id" in known else word
        if name not in known:
            raise ConfigurationError(f"{option}: there is no field {word}")
        if name in names:
            raise ConfigurationError(f"{option}: {word} is named twice")
        names.append(name)
    return tuple(names)


def check_search(names: Iterable[str], fields: Iterable[Field]) -> None:
    """Raises ConfigurationError for what is no text."""
    for field in fields:
        if field.name in names and field.kind.python != "str":
            raise ConfigurationError(f"--search: {field.name} is no text")


def check_natural_key(names: Iterable[str], fields: Iterable[Field]) -> None:
    """Raises ConfigurationError for what cannot tell rows apart."""
    for field in fields:
        if field.name in names and (field.is_nullable or field.type in _NO_KEY):
            what = "may be null" if field.is_nullable else f"is {field.type}"
            raise ConfigurationError(f"--natural-key: {field.name} {what}, and so is no key")


def check_word(word: str, what: str) -> None:
    """Raises ConfigurationError unless it names things in Python, SQL and a URL alike."""
    if not IDENTIFIER.fullmatch(word):
        raise ConfigurationError(
            f"{what} {word!r}: give a snake_case name such as due_on, with no double underscore"
        )
    if iskeyword(word):
        raise ConfigurationError(f"{what} {word} is a keyword of Python")
    if quote(word) != word:
        raise ConfigurationError(f"{what} {word} is a reserved word of SQL")


def _field(word: str, parents: Collection[str]) -> Field:
    name, mark, type_ = word.partition(":")
    if not mark:
        raise ConfigurationError(f"field {word!r}: give name:type, such as due_on:date?")
    is_nullable = type_.endswith("?")
    type_ = type_.removesuffix("?")
    if type_ in KINDS:
        return Field(name, type_, is_nullable)
    if type_ in parents:
        if name.endswith("_id"):
            raise ConfigurationError(f"field {word}: give {name.removesuffix('_id')}:{type_}")
        return Field(f"{name}_id", "uuid", is_nullable, parent=type_)
    raise ConfigurationError(
        f"field {word}: {type_!r} is neither a type ({', '.join(KINDS)}) nor a resource to refer "
        f"to ({', '.join(sorted(parents))})"
    )


def _check_name(name: str) -> None:
    # Before the words of SQL, many of which are parameters: the reason that counts.
    if name in _PARAMETERS:
        raise ConfigurationError(f"field {name} would clash with the query parameter {name}")
    check_word(name, "field")
    if len(name) > _MOST_OF_A_FIELD:
        raise ConfigurationError(f"field {name}: at most {_MOST_OF_A_FIELD} characters")
    if hasattr(TenantModel, name):
        raise ConfigurationError(f"field {name} is reserved: every resource has it by itself")
    if name in _IN_THE_FILE:
        raise ConfigurationError(f"field {name} would hide what the model is written with")
