"""A body that is a file, kept on disk while a request works with it."""

import hashlib
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import IO, NamedTuple

from saas.errors import Unavailable
from saas.web.strict_request import StrictRequest

_KEY = "spool"


class Spool(NamedTuple):
    """`file` stands at its begin; it has no name, and is gone with the request, or the process."""

    file: IO[bytes]
    sha256: bytes


@asynccontextmanager
async def spooled(request: StrictRequest) -> AsyncIterator[Spool]:
    """The whole body of the request, read once. Raises BadRequest where it ends early, TooLarge for
    more than its route takes, Unavailable where the disk is full."""
    state = request.scope["state"]
    if _KEY in state:
        yield state[_KEY]
        return
    with tempfile.TemporaryFile(prefix="saas-") as file:
        digest = hashlib.sha256()
        try:
            async for chunk in request.stream():
                digest.update(chunk)
                file.write(chunk)
            file.seek(0)
        except OSError:
            raise Unavailable("The body cannot be kept: no room on disk.") from None
        state[_KEY] = Spool(file, digest.digest())
        try:
            yield state[_KEY]
        finally:
            del state[_KEY]
