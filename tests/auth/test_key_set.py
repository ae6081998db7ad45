"""Which JWKs become keys, each with one algorithm, and which documents are no key set."""

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from jwt.algorithms import OKPAlgorithm

from identity_provider import jwk_of, private_key
from saas.auth.key_set import BadKeySet, read_key_set


def rsa_of(bits):
    """A public key that nobody has the private half of: making one takes a while."""
    modulus = (2 ** (bits - 1) + 1).to_bytes(bits // 8, "big")
    n = base64.urlsafe_b64encode(modulus).decode().rstrip("=")
    return {"kty": "RSA", "n": n, "e": "AQAB", "alg": "RS256", "use": "sig", "kid": "k"}


RSA = rsa_of(2_048)
EC, ED = (jwk_of(name, private_key(name), "k") for name in ("ES256", "EdDSA"))
ALL = ("RS256", "PS256", "ES256", "ES384", "EdDSA")


def without(jwk, *names):
    return {name: value for name, value in jwk.items() if name not in names}


def keys_of(*jwks, algorithms=ALL):
    return read_key_set(json.dumps({"keys": jwks}).encode(), algorithms).by_id


def algorithm_of(jwk, algorithms=ALL):
    key = keys_of(jwk, algorithms=algorithms).get("k")
    return key.algorithm if key else None


NO_ALG = without(RSA, "alg")
ONE_ALGORITHM = [
    (RSA, ALL, "RS256"),
    (RSA, ("PS256", "RS256"), "RS256"),
    (RSA | {"alg": "PS256"}, ALL, "PS256"),
    (NO_ALG, ALL, "RS256"),
    (NO_ALG, ("PS256", "RS256"), "PS256"),
    (NO_ALG, ("ES256", "RS512"), "RS512"),
    (EC, ALL, "ES256"),
    (without(EC, "alg"), ALL, "ES256"),
    (jwk_of("ES384", private_key("ES384"), "k"), ALL, "ES384"),
    (jwk_of("ES512", private_key("ES512"), "k"), ("ES512",), "ES512"),
    (ED, ALL, "EdDSA"),
    (without(ED, "alg", "use"), ALL, "EdDSA"),
    (RSA | {"key_ops": ["verify", "sign"]}, ALL, "RS256"),
    (RSA | {"x5c": ["junk"], "x5t": 1, "more": {}}, ALL, "RS256"),
    (RSA | {"crv": "P-256"}, ALL, "RS256"),
    (rsa_of(8_192), ALL, "RS256"),
]


@pytest.mark.parametrize(("jwk", "algorithms", "expected"), ONE_ALGORITHM)
def test_key_has_one_algorithm_that_the_operator_allows(jwk, algorithms, expected):
    assert algorithm_of(jwk, algorithms) == expected


OTHER_CURVE = ec.generate_private_key(ec.SECP256K1())
UNUSABLE = {
    "secret": {"kty": "oct", "k": "c2VjcmV0" * 8, "kid": "k", "alg": "HS256"},
    "secret under RS256": {"kty": "oct", "k": "c2VjcmV0" * 8, "kid": "k", "alg": "RS256"},
    "HS256 of an RSA key": RSA | {"alg": "HS256"},
    "none": RSA | {"alg": "none"},
    "algorithm of another family": RSA | {"alg": "ES256"},
    "algorithm of another curve": EC | {"alg": "ES384"},
    "algorithm that is not allowed": RSA | {"alg": "RS512"},
    "algorithm of another spelling": RSA | {"alg": "rs256"},
    "RSA-OAEP": RSA | {"alg": "RSA-OAEP"},
    "for encryption": RSA | {"use": "enc"},
    "for signing alone": RSA | {"key_ops": ["sign"]},
    "RSA of 2040 bits": rsa_of(2_040),
    "RSA of 8200 bits": rsa_of(8_200),
    "RSA without n": without(RSA, "n"),
    "RSA with an even e": RSA | {"e": "AQAA"},
    "RSA with e of 1": RSA | {"e": "AQ"},
    "curve that is not allowed": jwk_of("ES256", OTHER_CURVE, "k"),
    "unknown curve": EC | {"crv": "P-257"},
    "point beside the curve": EC | {"y": EC["x"]},
    "short point": EC | {"x": EC["x"][:-4]},
    "Ed448": OKPAlgorithm.to_jwk(ed448.Ed448PrivateKey.generate().public_key(), as_dict=True)
    | {"kid": "k"},
    "short Ed25519": ED | {"x": ED["x"][:-4]},
    "no kty": without(RSA, "kty"),
    "kty of another type": RSA | {"kty": 1},
    "kid of another type": RSA | {"kid": 1},
    "kid that is too long": RSA | {"kid": "k" * 201},
    "no base64": RSA | {"n": "!!"},
    "n of another type": RSA | {"n": 1},
}


@pytest.mark.parametrize("jwk", UNUSABLE.values(), ids=UNUSABLE)
def test_unusable_key_is_left_out_and_the_others_stay(jwk):
    good = jwk_of("EdDSA", private_key("EdDSA"), "good")

    assert set(keys_of(jwk, good)) == {"good"}


def test_private_members_of_a_published_key_are_not_taken():
    private = OKPAlgorithm.to_jwk(private_key("EdDSA"), as_dict=True) | {"kid": "k"}

    key = keys_of(private)["k"]

    assert "d" in private
    assert not hasattr(key.verifier.key, "sign")


def test_of_two_keys_with_one_name_the_first_counts():
    for first, second in ((RSA, ED), (ED, RSA)):
        assert keys_of(first, second)["k"].algorithm == first["alg"]


def test_token_that_names_no_key_finds_the_only_one():
    one = json.dumps({"keys": [without(RSA, "kid")]}).encode()
    named = json.dumps({"keys": [RSA]}).encode()
    two = json.dumps({"keys": [without(RSA, "kid"), ED]}).encode()

    for document in (one, named):
        assert read_key_set(document, ALL).find(None).algorithm == "RS256"
    assert read_key_set(two, ALL).find(None) is None
    for document in (one, two):
        assert read_key_set(document, ALL).find("") is None


def test_empty_set_has_no_key():
    assert keys_of() == {}


NO_KEY_SETS = {
    "nothing": b"",
    "page": b"<html></html>",
    "number": b"1",
    "null": b"null",
    "list": json.dumps([RSA]).encode(),
    "one key": json.dumps(RSA).encode(),
    "keys of another type": b'{"keys": 1}',
    "keys that are none": b'{"keys": [1]}',
    "null for keys": b'{"keys": null}',
    "too many keys": json.dumps({"keys": [RSA] * 101}).encode(),
    "no UTF-8": b'{"keys": [{"kid": "\xff"}]}',
    "deep": b'{"keys": [{"x":' + b"[" * 100_000,
    "half": json.dumps({"keys": [RSA]}).encode()[:-2],
    "more behind it": json.dumps({"keys": [RSA]}).encode() + b"{}",
}


@pytest.mark.parametrize("document", NO_KEY_SETS.values(), ids=NO_KEY_SETS)
def test_document_that_is_no_key_set_is_refused(document):
    with pytest.raises(BadKeySet):
        read_key_set(document, ALL)
