"""The tokens of invitations: signed, and good for nothing else.

`inv_` and 96 characters: the ids of invitation and tenant, the end in Unix seconds, and a MAC over
them. It is neither a JWT nor an API key, so that none of the three can be taken for another.
"""

import hmac
from base64 import b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

SCHEME = "inv_"
_CHARACTERS = 96
_ID_BYTES, _TIME_BYTES, _MAC_BYTES = 16, 8, 32


class Offer(NamedTuple):
    """What a token names; `expires_at` is in whole seconds."""

    invitation_id: UUID
    tenant_id: UUID
    expires_at: datetime


class InvitationTokens:
    """Makes and reads tokens by one secret, which all nodes of an installation share."""

    def __init__(self, secret: bytes) -> None:
        self._key = _key_of(secret)

    def issue(self, offer: Offer) -> str:
        """The token. It is told once: the invitation itself holds nothing of it."""
        payload = _packed(offer)
        mac = hmac.digest(self._key, payload, "sha256")
        return SCHEME + urlsafe_b64encode(payload + mac).decode("ascii")

    def read(self, token: str) -> Offer | None:
        """What a genuine token names, also when it has expired; None for every other text."""
        text = token.removeprefix(SCHEME)
        if not token.startswith(SCHEME) or len(text) != _CHARACTERS or not text.isascii():
            return None
        try:
            raw = b64decode(text, altchars=b"-_", validate=True)
        except ValueError:
            return None
        if urlsafe_b64encode(raw).decode("ascii") != text:
            # b64decode takes + and / too: one token has one spelling.
            return None
        payload, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        is_genuine = hmac.compare_digest(mac, hmac.digest(self._key, payload, "sha256"))
        return _unpacked(payload) if is_genuine else None


def _key_of(secret: bytes) -> bytes:
    # A key of its own (RFC 5869): no MAC of another purpose is one of an invitation.
    return HKDF(SHA256(), 32, salt=None, info=b"saas invitation token").derive(secret)


def _packed(offer: Offer) -> bytes:
    seconds = int(offer.expires_at.timestamp())
    return offer.invitation_id.bytes + offer.tenant_id.bytes + seconds.to_bytes(_TIME_BYTES)


def _unpacked(payload: bytes) -> Offer:
    ids, seconds = payload[: 2 * _ID_BYTES], payload[2 * _ID_BYTES :]
    return Offer(
        UUID(bytes=ids[:_ID_BYTES]),
        UUID(bytes=ids[_ID_BYTES:]),
        datetime.fromtimestamp(int.from_bytes(seconds), UTC),
    )
