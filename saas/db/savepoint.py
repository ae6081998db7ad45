"""Operations that may fail without taking the transaction with them."""

from collections.abc import Callable

from sqlalchemy import text

from saas.db.operation import Operation, Result, Step
from saas.db.statements import Statement
from saas.errors import Deadlock, SaasError

MOST_DEADLOCKS = 5
# Who begins again at once takes back the lock that the other one is about to get, and they meet
# again. The server finds a deadlock after a second (deadlock_timeout), so this adds little.
_PAUSE = Statement(text("SELECT pg_sleep(:seconds * (0.5 + random()))"))
_FIRST_PAUSE_SECONDS = 0.05


class _Savepoint:
    def __init__(self, name: str) -> None:
        self.set = Step(Statement(text(f"SAVEPOINT {name}")), {}, can_wait=True)
        self.release = Step(Statement(text(f"RELEASE SAVEPOINT {name}")), {}, can_wait=True)
        self.roll_back = Step(Statement(text(f"ROLLBACK TO SAVEPOINT {name}")), {})


_ITEM, _BATCH = _Savepoint("item"), _Savepoint("batch")


def attempt(operation: Operation[Result]) -> Operation[Result | SaasError]:
    """The result of `operation`, or its refusal, after which the rows are as before. What no
    repetition in this transaction can help (5xx) is raised."""
    outcome: Result | SaasError
    yield _ITEM.set
    try:
        outcome = yield from operation
    except SaasError as refusal:
        if refusal.status >= 500:
            raise
        yield _ITEM.roll_back
        yield _ITEM.release
        outcome = refusal
    # Not released: who waits for a row of a released savepoint goes on waiting when the savepoint
    # around it is rolled back, until the transaction ends.
    return outcome


def despite_deadlocks(begin: Callable[[], Operation[Result]]) -> Operation[Result]:
    """The result of the operation that `begin` makes. Where the database ends it because it and
    other transactions wait for each other, it is begun again, with its locks given back.

    What it raises has left the rows as before; Deadlock, where this transaction holds what the
    others want since before, or they come back too often."""
    yield _BATCH.set
    for deadlocks in range(MOST_DEADLOCKS + 1):
        try:
            result = yield from begin()
        except Deadlock:
            if deadlocks == MOST_DEADLOCKS:
                raise
            yield _BATCH.roll_back
            yield Step(_PAUSE, {"seconds": _FIRST_PAUSE_SECONDS * 2**deadlocks})
        except SaasError as refusal:
            if refusal.status < 500:
                yield _BATCH.roll_back
            raise
        else:
            break
    yield _BATCH.release
    return result
