"""Free queries for threads: the twin of `saas/db/tenant_select.py`, where `tenant_select` is."""

from typing import Any

from saas.db.sync.repository import perform
from saas.db.tenant_select import FreeQuery, free_query


def fetch_all(statement: FreeQuery) -> list[Any]:
    """The rows as named tuples, read in the current transaction. Raises Unbound without a tenant,
    Unscoped for a statement that cannot be held to it."""
    return perform(free_query(statement))
