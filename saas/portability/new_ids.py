"""New ids for all rows of a tenant, wherever one stands.

An id becomes one that follows from it and the new tenant alone, so that no table of the changes is
kept and every mention of an id changes alike. Its first half stays, where UUIDv7 keeps the time,
and its end moves on by as much for all that begin alike: so the order of the log's entries stays.
"""

import hashlib
import re
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import Column, Table

from saas.db.models import Base
from saas.db.portable import AUDIT_LOG
from saas.errors import InvalidArchive
from saas.portability.rows import NULL, Row

_is_id = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch
_text = msgspec.json.Decoder(str)
_encode = msgspec.json.Encoder().encode
_AUTHORS = ("created_by", "updated_by", "deleted_by")


class Changes(msgspec.Struct, forbid_unknown_fields=True):
    """What an entry of the log says. `is_new` is of rows that came by the hundred, and holds no
    id (`audit_inserted.py`)."""

    old: Row | None
    new: Row | None
    is_new: bool | msgspec.UnsetType = msgspec.UNSET


class Holding(NamedTuple):
    """The columns of a table that hold an id of the tenant, or an actor."""

    ids: tuple[str, ...]
    actors: tuple[str, ...]


_log_changes = msgspec.json.Decoder(Changes)


def holding_of(table: Table) -> Holding:
    return Holding(
        tuple(c.name for c in table.columns if _holds_id(c)),
        tuple(c.name for c in table.columns if c.info.get("holds") == "actor"),
    )


def _holds_id(column: Column[Any]) -> bool:
    if column.name == "tenant_id":
        return False
    return (
        column.name == "id"
        or column.info.get("holds") == "id"
        or any(key.column.name == "id" for key in column.foreign_keys)
    )


def changes_of(entry: Row) -> Changes:
    """Raises InvalidArchive for what no entry says, and nobody could read."""
    try:
        return _log_changes.decode(entry["changes"])
    except (msgspec.DecodeError, RecursionError):
        raise InvalidArchive(f"{AUDIT_LOG.name}.changes: it is not old and new values.") from None


class NewIds:
    """The ids of the tenant `old`, as the tenant `new` has them."""

    def __init__(self, old: UUID, new: UUID) -> None:
        self._old, self._new = str(old), str(new)
        self._salt = new.bytes
        self._holdings = {name: holding_of(table) for name, table in Base.metadata.tables.items()}

    def id(self, text: str) -> str:
        if text == self._old:
            return self._new
        digest = hashlib.sha256(self._salt + text[:20].encode()).digest()
        # Another one for each old id, and next to the ids that count up from one (RFC 9562, 6.2,
        # method 2), as those of the log do for rows that came by the hundred.
        middle = int(text[20:23], 16) ^ int.from_bytes(digest[:2]) >> 4
        last = (int(text[24:], 16) + int.from_bytes(digest[2:8])) % 2**48
        return f"{text[:20]}{middle:03x}-{last:012x}"

    def actor(self, text: str) -> str:
        kind, colon, id = text.partition(":")
        return f"{kind}{colon}{self.id(id)}" if kind in {"member", "key"} and _is_id(id) else text

    def change(self, table: str, row: Row) -> None:
        """Give the row of `table` its new ids. Raises InvalidArchive where an id is none."""
        holding = self._holdings[table]
        for name in holding.ids:
            if name in row and row[name] != NULL:
                row[name] = self._new_id(row[name], f"{table}.{name}")
        for name in holding.actors:
            self._change_actor(row, name)
        if table == AUDIT_LOG.name:
            row["changes"] = self._changes(row)

    def _new_id(self, raw: msgspec.Raw, place: str) -> msgspec.Raw:
        text = _text_of(raw)
        if text is None or not _is_id(text):
            raise InvalidArchive(f"{place}: it is no id as PostgreSQL writes it.")
        return msgspec.Raw(_encode(self.id(text)))

    def _change_actor(self, row: Row, name: str) -> None:
        text = _text_of(row[name]) if name in row else None
        if text is not None:
            row[name] = msgspec.Raw(_encode(self.actor(text)))

    def _changes(self, entry: Row) -> msgspec.Raw:
        """What an entry says of a row mentions ids where the row itself does."""
        entity = _text_of(entry["entity"]) or ""
        holding = self._holdings.get(entity, Holding((), _AUTHORS))
        changes = changes_of(entry)
        for values in (changes.old, changes.new):
            if values is None:
                continue
            for name in holding.ids:
                text = _text_of(values[name]) if name in values else None
                if text is not None and _is_id(text):
                    values[name] = msgspec.Raw(_encode(self.id(text)))
            for name in holding.actors:
                self._change_actor(values, name)
        return msgspec.Raw(_encode(changes))


def _text_of(raw: msgspec.Raw) -> str | None:
    try:
        return _text.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
