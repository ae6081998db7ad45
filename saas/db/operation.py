"""What a repository does, apart from how it waits: a generator that yields each statement and is
given its rows. The async repository drives it over asyncpg, the sync one over psycopg."""

from collections.abc import Generator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

from saas.db.statements import Statement

Result = TypeVar("Result")
Rows = Sequence[Any]


class Step(NamedTuple):
    """One statement to run, and the values of its parameters by name. One that `can_wait` has no
    rows and cannot fail: it may go out in one message with what follows."""

    statement: Statement
    values: Mapping[str, Any]
    can_wait: bool = False


Operation: TypeAlias = Generator[Step, Rows, Result]
"""Ends with its result. A refusal of the database is raised at the `yield` of its statement."""
