"""How far a migration is, in a file that is right at every moment, also after a kill.

A batch is a transaction. Before it commits, the file says which transaction that is and what will
be so afterwards; after it, that it is so. Whoever finds the first without the second asks the
database whether that transaction was committed. So no row is copied twice and none is left out.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from saas.errors import ConfigurationError
from saas.legacy.source import Key

_READERS: dict[str, Callable[[str], Any]] = {
    "int": int,
    "str": str,
    "UUID": UUID,
    "Decimal": Decimal,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
}


class TableState(msgspec.Struct, kw_only=True, frozen=True):
    """One table of the map, in its order. `after` is the key of the last row that was read, as
    types and texts; `before` is how many rows the tenant had when it began."""

    source: str
    resource: str
    before: int
    after: list[tuple[str, str]] | None = None
    read: int = 0
    inserted: int = 0
    updated: int = 0
    skipped: int = 0
    failed: int = 0

    @property
    def key(self) -> Key | None:
        if self.after is None:
            return None
        return tuple(_READERS[kind](text) for kind, text in self.after)


class Position(msgspec.Struct, frozen=True):
    """The tables that were begun, and how long the file of errors is."""

    tables: tuple[TableState, ...] = ()
    errors_bytes: int = 0


class Pending(msgspec.Struct, frozen=True):
    """Where the migration will be once the transaction is committed."""

    transaction: str
    position: Position


class Checkpoint(msgspec.Struct):
    """`of` is a digest of what is migrated: another map, source or tenant has another one."""

    of: str
    position: Position = Position()
    pending: Pending | None = None


def key_state(key: Key) -> list[tuple[str, str]]:
    """A key for a TableState. Raises ConfigurationError for a type that cannot be read back."""
    for part in key:
        if type(part).__name__ not in _READERS:
            raise ConfigurationError(
                f"a key of type {type(part).__name__} cannot be kept: make a view with another key"
            )
    return [(type(part).__name__, str(part)) for part in key]


class CheckpointFile:
    """A checkpoint that is on the disk as soon as it has changed."""

    def __init__(self, path: Path, checkpoint: Checkpoint) -> None:
        self._path = path
        self._checkpoint = checkpoint

    @property
    def position(self) -> Position:
        return self._checkpoint.position

    @property
    def pending(self) -> Pending | None:
        return self._checkpoint.pending

    def prepare(self, pending: Pending) -> None:
        """To be called before the transaction commits."""
        self._checkpoint.pending = pending
        self._save()

    def settle(self, *, is_committed: bool) -> None:
        """The pending transaction was committed, or was not."""
        pending = self._checkpoint.pending
        if pending is not None and is_committed:
            self._checkpoint.position = pending.position
        self._checkpoint.pending = None
        self._save()

    def _save(self) -> None:
        try:
            _replace(self._path, msgspec.json.encode(self._checkpoint))
        except OSError as error:
            raise ConfigurationError(f"cannot write {self._path}: {error.strerror}") from None


@contextmanager
def opened_checkpoint(path: Path, of: str, *, restart: bool) -> Iterator[CheckpointFile]:
    """The checkpoint of the migration `of` in `path`, as it was left, or a new one. One process at
    a time has it. Raises ConfigurationError for that of another migration."""
    with _locked(path):
        if restart:
            path.unlink(missing_ok=True)
        yield CheckpointFile(path, _load(path, of))


def _load(path: Path, of: str) -> Checkpoint:
    if not path.exists():
        return Checkpoint(of)
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Checkpoint)
    except (msgspec.DecodeError, OSError) as error:
        raise ConfigurationError(f"{path} is no checkpoint: {error}") from None
    if found.of != of:
        raise ConfigurationError(
            f"{path} is of another map, source or tenant: give --restart, or another --checkpoint"
        )
    return found


def _replace(path: Path, content: bytes) -> None:
    """On the disk before it returns: after a loss of power the file would else be behind what the
    database has committed."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with fresh.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    # The new name is on the disk with its folder, and not before (fsync(2)).
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """A lock that ends with its process. The file stays, for others may have opened it."""
    try:
        file = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise ConfigurationError(f"another process works on {path}") from None
    finally:
        os.close(file)
