"""Counting from threads: the twin of `saas/usage/meters.py`."""

from datetime import datetime
from typing import Any

from saas.db.sync.repository import perform
from saas.usage.meters import counted, event_of


def meter(
    name: str,
    quantity: int = 1,
    *,
    idempotency_key: str | None = None,
    at: datetime | None = None,
    data: dict[str, Any] | None = None,
) -> bool:
    """As the async one."""
    event = event_of(name, quantity, idempotency_key=idempotency_key, at=at, data=data)
    return perform(counted([event])) == 1
