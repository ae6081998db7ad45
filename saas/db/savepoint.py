"""An operation that may fail without taking the transaction with it."""

from sqlalchemy import text

from saas.db.operation import Operation, Result, Step
from saas.db.statements import Statement
from saas.errors import SaasError

_SAVEPOINT = Statement(text("SAVEPOINT item"))
_RELEASE = Statement(text("RELEASE SAVEPOINT item"))
_ROLLBACK = Statement(text("ROLLBACK TO SAVEPOINT item"))


def attempt(operation: Operation[Result]) -> Operation[Result | SaasError]:
    """The result of `operation`, or its refusal, after which the rows are as before. What no
    repetition in this transaction can help (5xx) is raised."""
    outcome: Result | SaasError
    yield Step(_SAVEPOINT, {})
    try:
        outcome = yield from operation
    except SaasError as refusal:
        if refusal.status >= 500:
            raise
        yield Step(_ROLLBACK, {})
        outcome = refusal
    yield Step(_RELEASE, {})
    return outcome
