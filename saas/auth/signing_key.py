"""The installation's signing key: one key, one algorithm, chosen by the settings."""

import base64
import hashlib
import hmac
import json
from typing import Literal

import jwt
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt.algorithms import HMACAlgorithm, OKPAlgorithm

from saas.errors import ConfigurationError
from saas.settings import Settings

MIN_SECRET_BYTES = 32

Algorithm = Literal[
    "EdDSA",
    "ES256",
    "ES384",
    "ES512",
    "HS256",
    "PS256",
    "PS384",
    "PS512",
    "RS256",
    "RS384",
    "RS512",
]


class VerificationKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that proves signatures. The algorithm belongs to the key, never to a token's header
    (RFC 8725, 3.1)."""

    key_id: str
    algorithm: Algorithm
    verifier: jwt.PyJWK


class SigningKey(msgspec.Struct, frozen=True, kw_only=True):
    """The installation's key, and what proves its signatures: a token names it by its `key_id`."""

    signer: jwt.PyJWK
    verification: VerificationKey


def signing_key_from(settings: Settings) -> SigningKey:
    """SAAS_JWT_KEY selects EdDSA, SAAS_JWT_SECRET HS256. Raises ConfigurationError for both, none
    or a weak one."""
    if settings.jwt_key is not None and settings.jwt_secret is not None:
        raise ConfigurationError("set SAAS_JWT_KEY or SAAS_JWT_SECRET, not both")
    if settings.jwt_key is not None:
        return _eddsa_key(settings.jwt_key)
    if settings.jwt_secret is not None:
        key = hs256_key(settings.jwt_secret, name="SAAS_JWT_SECRET")
        return SigningKey(signer=key.verifier, verification=key)
    raise ConfigurationError(
        "set SAAS_JWT_KEY (an Ed25519 private key, PEM) or SAAS_JWT_SECRET (32 bytes or more)"
    )


def ed25519_key(public_key: Ed25519PublicKey) -> VerificationKey:
    """Its id is the thumbprint of RFC 7638, with the members of RFC 8037."""
    public_jwk = OKPAlgorithm.to_jwk(public_key, as_dict=True)
    canonical = json.dumps(public_jwk, sort_keys=True, separators=(",", ":"))
    return VerificationKey(
        key_id=_base64url(hashlib.sha256(canonical.encode("ascii")).digest()),
        algorithm="EdDSA",
        verifier=jwt.PyJWK(public_jwk, "EdDSA"),
    )


def hs256_key(text: str, *, name: str) -> VerificationKey:
    """Raises ConfigurationError, which calls the secret `name`, for a weak one."""
    # The environment spells bytes that are not UTF-8 as lone surrogates (PEP 383).
    secret = text.encode("utf-8", "surrogateescape")
    if len(secret) < MIN_SECRET_BYTES:
        raise ConfigurationError(f"{name} is shorter than {MIN_SECRET_BYTES} bytes")
    refuse_key_document(secret, name=name)
    key = jwt.PyJWK({"kty": "oct", "k": _base64url(secret)}, "HS256")
    key.Algorithm = _CheckedHMAC(HMACAlgorithm.SHA256)
    # A MAC and not a hash of the secret. No token has this text as its signing input, for it has
    # no dot, so it reveals less than any token does.
    tag = hmac.digest(secret, b"key id of the signing key", "sha256")
    return VerificationKey(key_id=_base64url(tag[:16]), algorithm="HS256", verifier=key)


def refuse_key_document(secret: bytes, *, name: str) -> None:
    """Raises ConfigurationError for a PEM or JWK: a public key used as a secret is known to the
    whole world (CVE-2022-29217)."""
    try:
        HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(secret)
    except jwt.InvalidKeyError:
        raise ConfigurationError(f"{name} is a key document, not a secret") from None


class _CheckedHMAC(HMACAlgorithm):
    """HS256 for a key checked at the start: PyJWT repeats the check, 8 us, for every token."""

    def prepare_key(self, key: str | bytes) -> bytes:
        return key if isinstance(key, bytes) else key.encode("utf-8")


def _eddsa_key(pem: str) -> SigningKey:
    try:
        private_key = load_pem_private_key(pem.encode("utf-8"), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        private_key = None
    if not isinstance(private_key, Ed25519PrivateKey):
        raise ConfigurationError("SAAS_JWT_KEY is no unencrypted Ed25519 private key in PEM")
    return SigningKey(
        signer=jwt.PyJWK(OKPAlgorithm.to_jwk(private_key, as_dict=True), "EdDSA"),
        verification=ed25519_key(private_key.public_key()),
    )


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
