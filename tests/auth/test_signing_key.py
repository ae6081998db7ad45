"""Which settings make a signing key, and which stop the start."""

import base64
import hashlib
import json
from uuid import UUID

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from pem import pem_of

from saas.auth.signing_key import signing_key_from
from saas.auth.tokens import TokenIssuer
from saas.errors import ConfigurationError
from saas.settings import Settings

ISSUER, AUDIENCE = "https://saas.example", "saas-api"
TENANT = UUID("0192f3a0-5b6c-7def-8abc-0123456789ab")
SECRET = "correct-horse-battery-staple-0123456789"
ED25519 = Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32)
PUBLIC_PEM = ED25519.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)


def test_key_id_is_stable_and_tells_keys_apart() -> None:
    first, same, other = (
        signing_key_from(Settings(jwt_secret=c * 32)).verification.key_id for c in "xxy"
    )

    assert first == same != other


def test_key_id_of_ed25519_is_the_thumbprint_of_its_public_key() -> None:
    # The private key and its thumbprint stand in RFC 8037, A.1 and A.3.
    d = base64.urlsafe_b64decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
    key = signing_key_from(Settings(jwt_key=pem_of(Ed25519PrivateKey.from_private_bytes(d))))

    assert key.verification.key_id == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_secret_is_not_seen_in_its_key() -> None:
    key = signing_key_from(Settings(jwt_secret=SECRET))

    assert SECRET not in repr(key)
    assert _base64url(SECRET.encode()) not in repr(key)
    assert key.verification.key_id[:8] not in _base64url(hashlib.sha256(SECRET.encode()).digest())


UNUSABLE: dict[str, Settings] = {
    "none": Settings(),
    "both": Settings(jwt_secret=SECRET, jwt_key=pem_of(ED25519)),
    "secret of 8 bytes": Settings(jwt_secret="12345678"),
    "secret of 31 bytes": Settings(jwt_secret="x" * 31),
    "secret that is a public key": Settings(jwt_secret=PUBLIC_PEM.decode()),
    "secret that is a JWK": Settings(jwt_secret=json.dumps({"kty": "oct", "k": "x" * 43})),
    "key that is no PEM": Settings(jwt_key="x" * 64),
    "key that is no UTF-8": Settings(jwt_key="\udcff" * 64),
    "key that is public": Settings(jwt_key=PUBLIC_PEM.decode()),
    "key that is RSA": Settings(jwt_key=pem_of(generate_private_key(65_537, 2_048))),
    "key that is encrypted": Settings(jwt_key=pem_of(ED25519, password=b"x")),
}


@pytest.mark.parametrize("unusable", UNUSABLE.values(), ids=UNUSABLE)
def test_unusable_signing_key_stops_the_start(unusable: Settings) -> None:
    assert signing_key_from(Settings(jwt_secret="x" * 32)).verification.algorithm == "HS256"
    assert signing_key_from(Settings(jwt_key=pem_of(ED25519))).verification.algorithm == "EdDSA"

    with pytest.raises(ConfigurationError) as refusal:
        signing_key_from(unusable)

    assert "SAAS_JWT_" in str(refusal.value)
    for configured in (unusable.jwt_secret, unusable.jwt_key):
        assert configured is None or configured not in str(refusal.value)


def test_secret_that_is_no_utf_8_is_usable() -> None:
    key = signing_key_from(Settings(jwt_secret="\udcff" * 32))
    plane = TokenIssuer(key, issuer=ISSUER, audience=AUDIENCE)

    assert plane.verify(plane.issue("a", tenant_id=TENANT)).subject == "a"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
