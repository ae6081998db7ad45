"""The proof that an import stored what the archive holds: it is read again before the commit."""

import asyncio
import hashlib

import msgspec

from saas.db.restore_functions import IMPORTED, RESTORED
from saas.db.transaction import current_transaction
from saas.errors import InvalidArchive
from saas.portability.fitting import Fitted
from saas.portability.outcome import Progress

_ROWS = 1_000
_OPEN = "SELECT public.restored_rows($1, $2)"
_FETCH = f"FETCH FORWARD {_ROWS} FROM {RESTORED}"
_CLOSE = f"CLOSE {RESTORED}"


class _Entry(msgspec.Struct):
    action: str


_entry = msgspec.json.Decoder(_Entry)


async def prove(fitted: Fitted, *, same_ids: bool, progress: Progress) -> None:
    """Raise InvalidArchive unless the table holds the rows of the archive: as many of them, and
    where their ids are the same, with the same SHA-256."""
    entry = fitted.entry
    work = current_transaction()
    columns = list(entry.column_names) if same_ids else _identity(fitted)
    await work.fetch(_OPEN, [entry.name, columns])
    digest = hashlib.sha256()
    rows = 0
    while found := await work.fetch(_FETCH):
        text, count = await asyncio.to_thread(_text_of, [row[0] for row in found], fitted)
        digest.update(text)
        rows += count
        progress(f"{entry.name}, proved", count)
    await work.fetch(_CLOSE)
    if rows != entry.rows:
        raise InvalidArchive(f"{entry.file}: of {entry.rows} rows {rows} were stored.")
    if same_ids and digest.hexdigest() != entry.sha256:
        raise InvalidArchive(
            f"{entry.file}: what was stored is not what it says, or not as an export writes it."
        )


def _identity(fitted: Fitted) -> list[str]:
    return ["id", "action"] if fitted.portable.is_log else ["id"]


def _text_of(lines: list[str], fitted: Fitted) -> tuple[bytes, int]:
    """The lines that the archive's table can hold, and how many: the log's entries of imports are
    no part of it."""
    if fitted.portable.is_log:
        lines = [line for line in lines if _entry.decode(line).action != IMPORTED]
    return "".join(f"{line}\n" for line in lines).encode(), len(lines)
