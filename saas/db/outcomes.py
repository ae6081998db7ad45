"""Whether a transaction was committed, asked by who was cut off before being told
(https://www.postgresql.org/docs/18/functions-info.html, pg_xact_status)."""

from typing import Literal

from saas.db.transaction import current_transaction

Outcome = Literal["committed", "aborted", "in progress"]

_NAME = "SELECT pg_current_xact_id()::text"
# Of one that is yet to come PostgreSQL would not say that it knows nothing.
_OUTCOME = """
SELECT CASE WHEN $1::text::xid8 <= pg_current_xact_id()
THEN pg_xact_status($1::text::xid8) END
"""


async def transaction_name() -> str:
    """The name under which `outcome_of` knows the current transaction."""
    name: str = (await current_transaction().fetch(_NAME))[0][0]
    return name


async def outcome_of(name: str) -> Outcome | None:
    """None for a transaction so long ago, or of another server, that nobody knows any more. Asked
    in a transaction that is not the one."""
    outcome: Outcome | None = (await current_transaction().fetch(_OUTCOME, [name]))[0][0]
    return outcome
