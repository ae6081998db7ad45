"""Access tokens that we issue say what was asked for, within bounds, and nothing else is issued."""

import base64
import json
import time
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from pem import pem_of

from saas.auth.signing_key import signing_key_from
from saas.auth.tokens import Claims, TokenIssuer
from saas.errors import Invalid
from saas.settings import Settings

Json = dict[str, Any]

TENANT = UUID("0192f3a0-5b6c-7def-8abc-0123456789ab")
ED25519 = Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32)
KEYS = {"HS256": Settings(jwt_secret="s" * 32), "EdDSA": Settings(jwt_key=pem_of(ED25519))}


def plane_of(algorithm: str, *, requires_tenant: bool) -> TokenIssuer:
    return TokenIssuer(
        signing_key_from(KEYS[algorithm]),
        issuer="https://saas.example",
        audience="saas-api",
        requires_tenant=requires_tenant,
    )


TENANTS = {name: plane_of(name, requires_tenant=True) for name in KEYS}
PLATFORM = {name: plane_of(name, requires_tenant=False) for name in KEYS}

ASKED = st.fixed_dictionaries(
    {
        "subject": st.text("abc:é-09", min_size=1, max_size=200),
        "tenant_id": st.uuids(),
        "role": st.none() | st.sampled_from(["owner", "admin", "member", "viewer"]),
        "permissions": st.none() | st.frozensets(st.text("ab:", min_size=1), max_size=5),
    }
)


@pytest.mark.parametrize("algorithm", KEYS)
@given(asked=ASKED, ttl=st.integers(1, 900))
@settings(max_examples=50, deadline=None)
def test_verified_token_says_what_was_issued(algorithm: str, asked: Json, ttl: int) -> None:
    asked_at = int(time.time())

    said = TENANTS[algorithm].verify(TENANTS[algorithm].issue(**asked, ttl_seconds=ttl))

    assert asked_at <= said.issued_at <= time.time()
    assert said == Claims(**asked, issued_at=said.issued_at, expires_at=said.issued_at + ttl)


@pytest.mark.parametrize("algorithm", KEYS)
def test_header_names_type_algorithm_and_key(algorithm: str) -> None:
    token = TENANTS[algorithm].issue("a", tenant_id=TENANT)

    header = json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))

    key_id = signing_key_from(KEYS[algorithm]).verification.key_id
    assert header == {"typ": "at+jwt", "alg": algorithm, "kid": key_id}


@pytest.mark.parametrize("ttl_seconds", [901, 10**9, 0, -1])
def test_lifetime_outside_1_to_900_seconds_is_not_issued(ttl_seconds: int) -> None:
    plane = TENANTS["HS256"]
    assert plane.issue("a", tenant_id=TENANT, ttl_seconds=900)

    with pytest.raises(Invalid) as refusal:
        plane.issue("a", tenant_id=TENANT, ttl_seconds=ttl_seconds)

    assert [error.pointer for error in refusal.value.errors] == ["/ttl_seconds"]


def test_permissions_too_long_for_a_token_are_not_issued() -> None:
    plane = TENANTS["HS256"]
    names = [f"resource_{number}:read" for number in range(200)]
    assert plane.verify(plane.issue("a", tenant_id=TENANT, permissions=names[:100]))

    with pytest.raises(Invalid) as refusal:
        plane.issue("a", tenant_id=TENANT, permissions=names)

    assert [error.pointer for error in refusal.value.errors] == ["/permissions"]


UNFIT: list[tuple[str, UUID | None, str]] = [
    *(("a", None, "owner"), ("a", TENANT, ""), ("a", TENANT, "r" * 201)),
    *(("", TENANT, "owner"), ("s" * 201, TENANT, "owner"), ("a\0", TENANT, "owner")),
]


@pytest.mark.parametrize(("subject", "tenant_id", "role"), UNFIT)
def test_unfit_claims_are_not_issued(subject: str, tenant_id: UUID | None, role: str) -> None:
    assert TENANTS["HS256"].issue("a", tenant_id=TENANT, role="owner")

    with pytest.raises(ValueError, match="no token of this plane"):
        TENANTS["HS256"].issue(subject, tenant_id=tenant_id, role=role)


def test_platform_token_is_not_issued_for_a_tenant() -> None:
    assert PLATFORM["HS256"].issue("ada", tenant_id=None)

    with pytest.raises(ValueError, match="tid does not fit"):
        PLATFORM["HS256"].issue("ada", tenant_id=TENANT)
