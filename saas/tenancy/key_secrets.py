"""The two secrets that a rotated key has for a while, and which of them a proof is of."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, case, func

from saas.auth.keys import ParsedKey, matches
from saas.db.models import table_of
from saas.errors import Unauthenticated
from saas.tenancy.models import ApiKeyRow


class TokenOfKey(NamedTuple):
    """What a token says of the key that it is of. A key's version grows with each rotation, and
    with nothing else in its life. Of a token that an operator has signed without it, the time at
    which it was issued tells."""

    issued_at: int
    key_version: int | None


_keys = table_of(ApiKeyRow)


def secret_columns() -> list[ColumnElement[Any]]:
    """What has to be known of a key's secrets."""
    # By the clock of the database alone, like every other end of a credential.
    overlaps = _keys.c.previous_expires_at > func.now()
    return [
        _keys.c.secret_hash,
        _keys.c.previous_secret_hash,
        _keys.c.previous_member_id,
        case((overlaps, _keys.c.previous_expires_at)).label("overlaps_until"),
        _keys.c.updated_at,
        _keys.c.version,
    ]


def is_of_present_secret(row: Mapping[str, Any], proof: ParsedKey | TokenOfKey) -> bool:
    """Whether the proof is of the key's secret, and not of the one before its rotation, which is
    as good while the two overlap. Raises Unauthenticated for a proof of neither."""
    overlaps = row["overlaps_until"] is not None
    if isinstance(proof, TokenOfKey):
        version = _version(row, proof)
        is_present: bool = version == row["version"]
        is_previous = overlaps and version == row["version"] - 1
    else:
        is_present = matches(row["secret_hash"], proof.secret_hash)
        # Compared whatever came of the first, and where there is none with the other again: the
        # time tells neither which one it was nor that there are two.
        is_same = matches(row["previous_secret_hash"] or row["secret_hash"], proof.secret_hash)
        is_previous = overlaps and is_same
    if not is_present and not is_previous:
        raise Unauthenticated
    return is_present


def _version(row: Mapping[str, Any], token: TokenOfKey) -> int:
    if token.key_version is not None:
        return token.key_version
    # Times of tokens are whole seconds: one of the second of the rotation counts as new.
    is_since = row["version"] == 1 or token.issued_at >= math.floor(row["updated_at"].timestamp())
    version: int = row["version"] if is_since else row["version"] - 1
    return version
