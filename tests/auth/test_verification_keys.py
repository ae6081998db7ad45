"""Keys that verify without signing: which texts make them, and what the world sees of them."""

import base64
import json
from uuid import UUID

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from pem import pem_of

from saas.auth.signing_key import signing_key_from
from saas.auth.tokens import TokenIssuer
from saas.auth.verification_keys import public_keys_of, verification_keys_from
from saas.errors import ConfigurationError, Unauthenticated
from saas.settings import Settings

TENANT = UUID("0192f3a0-5b6c-7def-8abc-0123456789ab")
SECRET, NEXT_SECRET = (
    "correct-horse-battery-staple-0123456789",
    "another secret, as long as it must be",
)
ED25519, NEXT_ED25519 = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2))


def public_pem_of(private_key):
    return (
        private_key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


PRIVATE, PUBLIC = pem_of(ED25519), public_pem_of(ED25519)
JWK = {
    "kty": "OKP",
    "crv": "Ed25519",
    "x": base64.urlsafe_b64encode(ED25519.public_key().public_bytes_raw()).decode().rstrip("="),
}
SIGNING = {
    "secret": Settings(jwt_secret=SECRET),
    "Ed25519": Settings(jwt_key=PRIVATE),
    "next secret": Settings(jwt_secret=NEXT_SECRET),
    "next Ed25519": Settings(jwt_key=pem_of(NEXT_ED25519)),
}
OF_BEFORE = {"secret": SECRET, "Ed25519": PRIVATE, "Ed25519 alone": PUBLIC}


def plane_of(settings):
    return TokenIssuer(
        signing_key_from(settings),
        issuer="https://saas.example",
        audience="saas-api",
        verification_keys=verification_keys_from(settings),
    )


@pytest.mark.parametrize("now", ["next secret", "next Ed25519"])
@pytest.mark.parametrize("before", OF_BEFORE)
def test_token_of_the_key_before_is_good_while_that_key_is_listed(before, now):
    old = plane_of(SIGNING[before.removesuffix(" alone")])
    token = old.issue("a", tenant_id=TENANT)
    rotated = msgspec.structs.replace(SIGNING[now], jwt_verification_keys=OF_BEFORE[before])

    assert plane_of(rotated).verify(token).subject == "a"
    assert plane_of(rotated).verify(plane_of(rotated).issue("b", tenant_id=TENANT)).subject == "b"
    with pytest.raises(Unauthenticated):
        plane_of(SIGNING[now]).verify(token)


def test_key_to_come_is_known_before_it_signs():
    first = msgspec.structs.replace(SIGNING["Ed25519"], jwt_verification_keys=NEXT_SECRET)
    then = msgspec.structs.replace(SIGNING["next secret"], jwt_verification_keys=PUBLIC)

    for issuing, verifying in ((first, then), (then, first)):
        token = plane_of(issuing).issue("a", tenant_id=TENANT)
        assert plane_of(verifying).verify(token).subject == "a"


def test_each_key_keeps_its_one_algorithm():
    settings = Settings(jwt_key=PRIVATE, jwt_verification_keys=f"{SECRET}\n{NEXT_SECRET}")
    plane, secret = plane_of(settings), plane_of(SIGNING["secret"])
    of_secret = secret.issue("a", tenant_id=TENANT)
    header, payload, signature = of_secret.split(".")
    named = json.loads(base64.urlsafe_b64decode(header + "=="))
    assert plane.verify(of_secret).subject == "a"

    key_ids = [key.key_id for key in verification_keys_from(settings)]
    for changes in (
        {"alg": "EdDSA"},
        {"alg": "HS512"},
        {"kid": signing_key_from(settings).verification.key_id},
        {"kid": key_ids[1]},
        {"kid": key_ids[0] + "A"},
        {"kid": None},
    ):
        forged = base64.urlsafe_b64encode(json.dumps(named | changes).encode()).decode()
        with pytest.raises(Unauthenticated):
            plane.verify(f"{forged.rstrip('=')}.{payload}.{signature}")


TEXTS = {
    "nothing": ("", 0),
    "blank lines": ("\n \r\n\n", 0),
    "a secret": (SECRET, 1),
    "secrets": (f"{SECRET}\r\n\n{NEXT_SECRET}\n", 2),
    "a private key": (PRIVATE, 1),
    "keys": (PRIVATE + PUBLIC, 2),
    "everything": (f"{SECRET}\n{PUBLIC}{NEXT_SECRET}\n{pem_of(NEXT_ED25519)}", 4),
    "a secret that is no UTF-8": ("\udcff" * 32, 1),
}


@pytest.mark.parametrize(("text", "count"), TEXTS.values(), ids=TEXTS)
def test_each_line_or_pem_block_is_a_key(text, count):
    assert len(verification_keys_from(Settings(jwt_verification_keys=text))) == count


def test_secret_is_the_whole_line_as_the_signing_secret_is():
    spaced = f"  {SECRET} and blanks  "
    (key,) = verification_keys_from(Settings(jwt_verification_keys=f"{spaced}\r\n"))

    assert key.key_id == signing_key_from(Settings(jwt_secret=spaced)).verification.key_id


UNUSABLE = {
    "short secret": f"{SECRET}\nshort",
    "RSA": pem_of(generate_private_key(65_537, 2_048)),
    "RSA public": public_pem_of(generate_private_key(65_537, 2_048)),
    "encrypted": pem_of(ED25519, password=b"x"),
    "garbage in a PEM": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
    "PEM without its end": PUBLIC[: PUBLIC.index("-----END")] + "x" * 64,
    "PEM without its beginning": PUBLIC[PUBLIC.index("\n") :],
    "PEM with another end": PUBLIC.replace("END PUBLIC", "END PRIVATE"),
    "JWK": json.dumps(JWK),
    "JWK over lines": json.dumps(JWK | {"kid": "k" * 40}, indent=1),
    "JWK set over lines": json.dumps({"keys": [JWK]}, indent=1),
    "SSH key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c",
}


@pytest.mark.parametrize("text", UNUSABLE.values(), ids=UNUSABLE)
def test_unusable_key_stops_the_start_in_one_line(text):
    with pytest.raises(ConfigurationError, match="SAAS_JWT_VERIFICATION_KEYS") as refusal:
        verification_keys_from(Settings(jwt_verification_keys=text))

    assert "\n" not in str(refusal.value)
    assert not set(str(refusal.value).split()) & set(text.split())


def test_public_keys_are_shown_with_the_signing_one_first_and_secrets_never():
    settings = Settings(
        jwt_key=pem_of(NEXT_ED25519), jwt_verification_keys=f"{SECRET}\n{PUBLIC}{PRIVATE}"
    )

    shown = msgspec.to_builtins(public_keys_of(settings))

    first, second = shown["keys"]
    assert first["kid"] == signing_key_from(settings).verification.key_id
    assert second == {
        **JWK,
        "kid": signing_key_from(SIGNING["Ed25519"]).verification.key_id,
        "alg": "EdDSA",
        "use": "sig",
    }
    assert set(first) == set(second)
    assert msgspec.to_builtins(public_keys_of(SIGNING["secret"])) == {"keys": []}
