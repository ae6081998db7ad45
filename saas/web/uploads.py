"""Files that a route keeps by itself while they come: its `opt["receive"]` does so, and gives what
stands for the file. What stands before the handler may have called it already. Other files are kept
on disk (`spool.py`)."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeVar

from saas.web.routed import AnyRequest

_KEY = "upload"


class KeptUpload(Protocol):
    """`digest` stands for the body; `discard` forgets it."""

    digest: bytes

    async def discard(self) -> None: ...


Result = TypeVar("Result")


async def upload_or(
    request: AnyRequest, receive: Callable[[AnyRequest], Awaitable[Result]]
) -> Result:
    """What was received of `request` before its handler; else what `receive` does now."""
    found: Any = request.scope["state"].pop(_KEY, None)
    result: Result = await receive(request) if found is None else found
    return result


@asynccontextmanager
async def received_early(request: AnyRequest) -> AsyncIterator[bytes]:
    """Receive the file of a route that keeps it by itself, before its handler does; gives the
    digest. Forgotten at the end, unless the handler has asked for it."""
    state: Any = request.scope["state"]
    upload: KeptUpload | None = await request.scope["route_handler"].opt["receive"](request)
    if upload is None:
        yield hashlib.sha256().digest()
        return
    state[_KEY] = upload
    try:
        yield upload.digest
    finally:
        if state.pop(_KEY, None) is not None:
            await upload.discard()
