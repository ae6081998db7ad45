"""A zip archive that is written front to back into no file: what is ready is taken out at once."""

import hashlib
from typing import IO
from zipfile import ZIP_DEFLATED, ZipFile

# A quarter of the time of zlib's own default, for a seventh more bytes.
_LEVEL = 1


class ZipStream:
    """Members one after the other, deflated, with 64-bit sizes. To be left with `end`, or it is no
    archive. Takes processor time: call `Member.add` and `close` from a thread, one at a time."""

    def __init__(self) -> None:
        self._out = _Out()
        # Without `seek` and `tell` it writes sizes behind each member, not before it.
        self._zip = ZipFile(self._out, "w", ZIP_DEFLATED, compresslevel=_LEVEL)  # type: ignore[call-overload]
        self._last: Member | None = None

    def __enter__(self) -> "ZipStream":
        return self

    def __exit__(self, *_: object) -> None:
        # What is still open here is given up, and what this writes is taken by nobody.
        if self._last is not None:
            self._last.close()
        self._zip.close()

    def member(self, name: str) -> "Member":
        """Begin a member; the one before it must be closed."""
        self._last = Member(self._zip.open(name, "w", force_zip64=True))
        return self._last

    def end(self) -> None:
        """Write the directory of the members, without which the archive is none."""
        self._zip.close()

    def take(self) -> bytes:
        """What has become ready since the last call."""
        return self._out.take()


class Member:
    """One file of the archive that is being written; its `size` and `sha256` are of what it holds
    unpacked."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out
        self._digest = hashlib.sha256()
        self.size = 0

    def add(self, data: bytes) -> None:
        self._digest.update(data)
        self.size += len(data)
        self._out.write(data)

    def close(self) -> None:
        self._out.close()

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


class _Out:
    """Where the zip module writes to."""

    def __init__(self) -> None:
        self._ready: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._ready.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """There is nothing behind this."""

    def take(self) -> bytes:
        ready = b"".join(self._ready)
        self._ready.clear()
        return ready
