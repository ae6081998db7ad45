"""How often an operation is begun again after a deadlock, and what is not repeated."""

import pytest

from saas.db.operation import Operation, Step
from saas.db.savepoint import MOST_DEADLOCKS, despite_deadlocks
from saas.errors import Deadlock, NotFound, SaasError, Unavailable


class Attempts:
    """An operation that is refused as often as asked; `statements` is what was sent besides."""

    def __init__(self, refusal: type[SaasError], times: int) -> None:
        self.begun = 0
        self.statements: list[str] = []
        self._refusal, self._times = refusal, times

    def begin(self) -> Operation[str]:
        self.begun += 1
        if self.begun <= self._times:
            raise self._refusal
        return "done"
        yield  # A generator.

    def run(self) -> str:
        operation = despite_deadlocks(self.begin)
        step: Step = next(operation)
        try:
            while True:
                self.statements.append(step.statement.sql.split(" (")[0])
                step = operation.send(())
        except StopIteration as end:
            return str(end.value)


def test_operation_that_was_ended_for_a_deadlock_is_begun_again() -> None:
    attempts = Attempts(Deadlock, 2)

    assert attempts.run() == "done"
    assert attempts.begun == 3
    assert [sql.split("(")[0] for sql in attempts.statements] == [
        "SAVEPOINT batch",
        *("ROLLBACK TO SAVEPOINT batch", "SELECT pg_sleep") * 2,
        "RELEASE SAVEPOINT batch",
    ]


def test_deadlock_that_comes_back_for_ever_is_raised() -> None:
    attempts = Attempts(Deadlock, 1_000)

    with pytest.raises(Deadlock):
        attempts.run()

    assert attempts.begun == MOST_DEADLOCKS + 1


@pytest.mark.parametrize(
    ("refusal", "last"),
    [(NotFound, "ROLLBACK TO SAVEPOINT batch"), (Unavailable, "SAVEPOINT batch")],
)
def test_other_refusals_are_raised_at_once(refusal: type[SaasError], last: str) -> None:
    attempts = Attempts(refusal, 1)

    with pytest.raises(refusal):
        attempts.run()

    assert (attempts.begun, attempts.statements[-1]) == (1, last)
