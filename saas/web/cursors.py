"""Opaque page cursors: signed, and bound to the tenant, the resource, the filter and the sort. The
direction of the page is inside."""

import hashlib
import hmac
from base64 import b64decode, urlsafe_b64encode
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from saas import context
from saas.db.query import ListQuery, QueryGrammar, bad_parameter

_MAC_BYTES = 16
_encode = msgspec.msgpack.Encoder().encode


class Place(NamedTuple):
    """Where a page is: behind `position`, or before it if `backwards`. Without a position it is
    the first page, or the last one."""

    position: tuple[Any, ...]
    backwards: bool = False


class Cursors:
    """Makes and reads cursors with one secret; any other origin is refused."""

    def __init__(self, secret: bytes) -> None:
        self._key = hmac.digest(secret, b"saas page cursors", "sha256")

    def write(self, resource: str, query: ListQuery, place: Place) -> str:
        payload = _encode((place.backwards, place.position or None))
        return urlsafe_b64encode(self._mac(resource, query, payload) + payload).decode().rstrip("=")

    def read(self, resource: str, grammar: QueryGrammar, query: ListQuery, text: str) -> Place:
        """The place in `text`. Raises BadRequest unless it was made for this very list."""
        try:
            raw = b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except ValueError:
            raise _refused() from None
        mac, payload = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(resource, query, payload)):
            raise _refused()
        types = tuple(grammar.type_of(key.column) for key in query.sort)
        backwards, position = _decoder(types).decode(payload)
        return Place(position or (), backwards)

    def _mac(self, resource: str, query: ListQuery, payload: bytes) -> bytes:
        bound_to = (
            _reader(),
            resource,
            # In whatever order they were given, they choose the same rows.
            *(
                sorted(map(_encode, chosen))
                for chosen in (query.conditions, query.any_of, query.words)
            ),
            query.sort,
            query.deleted,
        )
        message = hashlib.sha256(_encode(bound_to)).digest() + payload
        return hmac.digest(self._key, message, "sha256")[:_MAC_BYTES]


@lru_cache(maxsize=256)
def _decoder(types: tuple[Any, ...]) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(tuple[bool, tuple[types] | None])  # type: ignore[valid-type]


def _reader() -> str:
    who = context.principal_or_none()
    return str(who.tenant_id) if who else "platform"


def _refused() -> Exception:
    return bad_parameter("cursor", "It was not made for this list. Begin again without it.")
