"""Signing keys are changed on running servers, and no token is refused for it."""

import base64
from uuid import UUID

import httpx
import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from saas.app import create_app
from saas.auth.signing_key import signing_key_from
from saas.auth.tokens import TokenIssuer

OLD, NEW = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2))


def private_pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def public_pem(key):
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


@pytest.fixture
def steps(settings):
    """The settings of each step of a rotation, from a secret over one key to the next."""
    secret = settings.jwt_secret
    keyed = msgspec.structs.replace(settings, jwt_secret=None)
    return [
        msgspec.structs.replace(settings, jwt_verification_keys=public_pem(OLD)),
        msgspec.structs.replace(
            keyed, jwt_key=private_pem(OLD), jwt_verification_keys=f"{secret}\n{public_pem(NEW)}"
        ),
        msgspec.structs.replace(
            keyed, jwt_key=private_pem(NEW), jwt_verification_keys=public_pem(OLD)
        ),
    ]


def tokens_of(settings, tenant):
    """A token of each plane, as a node with these settings signs it."""
    key = signing_key_from(settings)
    of_tenant = TokenIssuer(key, issuer=settings.jwt_issuer, audience=settings.jwt_audience)
    of_platform = TokenIssuer(
        key,
        issuer=settings.jwt_issuer,
        audience=settings.platform_audience,
        requires_tenant=False,
    )
    return {
        "/v1/projects": of_tenant.issue(tenant.owner_id, tenant_id=UUID(tenant.tenant_id)),
        "/v1/admin/tenants": of_platform.issue("ops", tenant_id=None),
    }


async def answers(http, tokens):
    return {
        (await http.get(path, headers={"Authorization": f"Bearer {token}"})).status_code
        for path, token in tokens.items()
    }


async def test_nodes_at_neighbouring_steps_take_each_others_tokens(steps, serve, tenant):
    issued = [tokens_of(step, tenant) for step in steps]

    # The first step signs with the secret, the second knows both, the third knows it no more.
    for step, expected in zip(steps, ([200, 200, 401], [200] * 3, [401, 200, 200]), strict=True):
        async with serve(create_app(step)) as http:
            assert [await answers(http, tokens) for tokens in issued] == [{e} for e in expected]


async def test_published_keys_prove_our_tokens_and_hold_nothing_private(steps, serve, tenant):
    async with serve(create_app(steps[2])) as http:
        answer = await http.get("/.well-known/jwks.json")
        head = await http.head("/.well-known/jwks.json")

    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.headers["cache-control"] == "public, max-age=300"
    assert (head.status_code, head.content) == (200, b"")
    keys = jwt.PyJWKSet.from_dict(answer.json())
    for step in steps[1:]:
        token = tokens_of(step, tenant)["/v1/projects"]
        claims = jwt.decode(
            token,
            keys[jwt.get_unverified_header(token)["kid"]],
            algorithms=["EdDSA"],
            audience=step.jwt_audience,
        )
        assert claims["sub"] == tenant.owner_id
    shown = answer.text
    for key in (OLD, NEW):
        raw = base64.urlsafe_b64encode(key.private_bytes_raw()).decode().rstrip("=")
        assert raw not in shown
    assert all("d" not in key and "k" not in key for key in answer.json()["keys"])


async def test_a_secret_is_never_published(http: httpx.AsyncClient):
    assert (await http.get("/.well-known/jwks.json")).json() == {"keys": []}


async def test_with_a_sealing_secret_a_rotation_keeps_cursors_and_kept_answers(
    steps, serve, tenant
):
    for n in range(2):
        await tenant.create("projects", name=f"Project {n}")
    key = {"Authorization": f"Bearer {tenant.key}"}
    keyed = key | {"Idempotency-Key": "rotation"}

    async def first(http):
        made = await http.post("/v1/projects", json={"name": "Once"}, headers=keyed)
        page = await http.get("/v1/projects?limit=1", headers=key)
        return made.json()["id"], page.json()["next_cursor"]

    async def again(http):
        made = await http.post("/v1/projects", json={"name": "Once"}, headers=keyed)
        page = await http.get("/v1/projects", params={"limit": 1, "cursor": cursor}, headers=key)
        return made, page.status_code

    sealed = [msgspec.structs.replace(s, sealing_secret="of its own " * 3) for s in steps]
    async with serve(create_app(sealed[0])) as http:
        id, cursor = await first(http)
    async with serve(create_app(sealed[1])) as http:
        repeated, page = await again(http)
    async with serve(create_app(steps[1])) as http:
        unsealed, refused = await again(http)

    assert (repeated.status_code, repeated.json()["id"], page) == (201, id, 200)
    # The allowed control is that it matters: without it both are forgotten.
    assert (unsealed.status_code, refused) == (409, 400)
