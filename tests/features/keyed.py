"""Requests with an Idempotency-Key, and what is kept of them."""

from typing import Any
from uuid import uuid4

import httpx

RANDOM_HEADERS = {"x-request-id"}


def keyed(key: str | None = None) -> dict[str, Any]:
    """The options of a request with this key, or with one that nobody has used."""
    return {"headers": {"Idempotency-Key": key or str(uuid4())}}


def is_replay(answer: httpx.Response) -> bool:
    return answer.headers.get("idempotency-replayed") == "true"


def assert_replays(again: httpx.Response, first: httpx.Response) -> None:
    """That `again` is the first answer, byte for byte, and says so; `first` is no repeat itself."""
    assert not is_replay(first), first.text
    assert is_replay(again), again.text
    assert (again.status_code, again.content) == (first.status_code, first.content)
    headers = dict(again.headers)
    assert headers.pop("idempotency-replayed") == "true"
    shown = [
        {k: v for k, v in h.items() if k not in RANDOM_HEADERS} for h in (headers, first.headers)
    ]
    assert shown[0] == shown[1]
