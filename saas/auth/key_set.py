"""A JWK set (RFC 7517) as keys that verify, each with its one algorithm."""

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import jwt
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from saas.auth.issuers_file import ExternalAlgorithm
from saas.auth.jws import MOST_KEY_ID_CHARACTERS
from saas.auth.signing_key import VerificationKey

_MOST_KEYS = 100
_RSA_BITS = range(2048, 8192 + 1)
_FITS: dict[tuple[str, str], tuple[ExternalAlgorithm, ...]] = {
    ("RSA", ""): ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
}


class BadKeySet(Exception):
    """The document is no JWK set."""


class KeySet(NamedTuple):
    """`only` is the key of a set that has but one: the key of tokens that name none."""

    by_id: dict[str, VerificationKey]
    only: VerificationKey | None

    def find(self, key_id: str | None) -> VerificationKey | None:
        return self.only if key_id is None else self.by_id.get(key_id)


NO_KEYS = KeySet({}, None)


def read_key_set(document: bytes, algorithms: Sequence[ExternalAlgorithm]) -> KeySet:
    """The keys of `document` that fit one of `algorithms`; the others are left out. A key that
    does not name its algorithm has the first of `algorithms` that fits. Raises BadKeySet."""
    try:
        found = msgspec.json.decode(document, type=_Document).keys
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadKeySet(f"no JWK set: {error}") from None
    usable = [key for jwk in found if (key := _key(jwk, algorithms)) is not None]
    # Of two keys with one name the first counts: a token must not be able to choose.
    by_id = {key.key_id: key for key in reversed(usable) if key.key_id}
    return KeySet(by_id, usable[0] if len(usable) == 1 else None)


class _Document(msgspec.Struct):
    keys: Annotated[list[dict[str, Any]], msgspec.Meta(max_length=_MOST_KEYS)]


class _Jwk(msgspec.Struct, omit_defaults=True):
    """The public members; `d` and `k` are never looked at."""

    kty: str
    crv: str = ""
    n: str = ""
    e: str = ""
    x: str = ""
    y: str = ""
    kid: Annotated[str, msgspec.Meta(max_length=MOST_KEY_ID_CHARACTERS)] = ""
    alg: str = ""
    use: str = "sig"
    key_ops: tuple[str, ...] = ("verify",)


def _key(
    members: dict[str, Any], algorithms: Sequence[ExternalAlgorithm]
) -> VerificationKey | None:
    try:
        jwk = msgspec.convert(members, _Jwk)
    except msgspec.ValidationError:
        return None
    algorithm = _algorithm(jwk, algorithms)
    if algorithm is None or jwk.use != "sig" or "verify" not in jwk.key_ops:
        return None
    try:
        verifier = jwt.PyJWK(msgspec.to_builtins(jwk), algorithm)
    except (jwt.PyJWTError, ValueError, TypeError, UnsupportedAlgorithm):
        return None
    if isinstance(verifier.key, RSAPublicKey) and verifier.key.key_size not in _RSA_BITS:
        return None
    return VerificationKey(key_id=jwk.kid, algorithm=algorithm, verifier=verifier)


def _algorithm(jwk: _Jwk, algorithms: Sequence[ExternalAlgorithm]) -> ExternalAlgorithm | None:
    fitting = _FITS.get((jwk.kty, "" if jwk.kty == "RSA" else jwk.crv), ())
    allowed = [name for name in algorithms if name in fitting and jwk.alg in ("", name)]
    return allowed[0] if allowed else None
