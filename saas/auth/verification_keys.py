"""Keys of ours that do not sign: those that did before, and those that will. And what of all our
keys the world may know."""

import re

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from jwt.algorithms import OKPAlgorithm

from saas.auth.signing_key import (
    VerificationKey,
    ed25519_key,
    hs256_key,
    refuse_key_document,
    signing_key_from,
)
from saas.errors import ConfigurationError
from saas.settings import Settings

_NAME = "SAAS_JWT_VERIFICATION_KEYS"
_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)


class PublicJwk(msgspec.Struct, frozen=True):
    """One public key (RFC 7517, RFC 8037)."""

    kty: str
    crv: str
    x: str
    kid: str
    alg: str
    use: str = "sig"


class JwkSet(msgspec.Struct, frozen=True):
    """The keys that prove our tokens. Empty where a secret does: nobody else may know it."""

    keys: list[PublicJwk]


def verification_keys_from(settings: Settings) -> list[VerificationKey]:
    """The keys of SAAS_JWT_VERIFICATION_KEYS: Ed25519 keys in PEM, private or public, and secrets,
    each on a line of its own. Raises ConfigurationError for anything else."""
    text = settings.jwt_verification_keys or ""
    keys = [ed25519_key(_public_key(match[0])) for match in _PEM.finditer(text)]
    secrets = _PEM.sub("\n", text)
    if "-----" in secrets:
        # Its lines would be taken for secrets, and those of a public key are no secret.
        raise ConfigurationError(f"{_NAME} holds a PEM block that is not whole")
    if secrets.strip():
        # A JWK over several lines, likewise.
        refuse_key_document(secrets.encode("utf-8", "surrogateescape"), name=_NAME)
    lines = (line.removesuffix("\r") for line in secrets.split("\n") if line.strip())
    return [*keys, *(hs256_key(line, name=f"a secret of {_NAME}") for line in lines)]


def public_keys_of(settings: Settings) -> JwkSet:
    """What `/.well-known/jwks.json` shows: the signing key first. Raises ConfigurationError."""
    keys = [signing_key_from(settings).verification, *verification_keys_from(settings)]
    known = {key.key_id: key for key in keys if key.algorithm == "EdDSA"}
    return JwkSet([_published(key) for key in known.values()])


def _published(key: VerificationKey) -> PublicJwk:
    # From the public key object: it holds nothing else that could be shown by mistake.
    jwk = OKPAlgorithm.to_jwk(key.verifier.key, as_dict=True)
    return PublicJwk(jwk["kty"], jwk["crv"], jwk["x"], key.key_id, key.algorithm)


def _public_key(pem: str) -> Ed25519PublicKey:
    key: object = None
    try:
        if "PRIVATE" in pem.partition("\n")[0]:
            key = load_pem_private_key(pem.encode("utf-8"), password=None)
        else:
            key = load_pem_public_key(pem.encode("utf-8"))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if isinstance(key, Ed25519PrivateKey):
        return key.public_key()
    if isinstance(key, Ed25519PublicKey):
        return key
    raise ConfigurationError(f"{_NAME} holds a PEM block that is no unencrypted Ed25519 key")
