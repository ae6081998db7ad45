"""An API key is exchanged for a token, and tokens are ended: a member's, or the whole tenant's."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import jwt
import msgspec
import pytest

from saas.app import create_app
from saas.auth.signing_key import signing_key_from
from saas.auth.tokens import TokenIssuer


@pytest.fixture
def narrow_key(tenant, in_tenant):
    """Narrows the tenant's own key."""

    def narrow(*permissions, **changes):
        values = {"permissions": list(permissions), **changes}
        for column, value in values.items():
            shown = msgspec.json.encode(value).decode() if column == "permissions" else value
            in_tenant(tenant, f"UPDATE api_keys SET {column} = %s", shown)

    return narrow


async def exchange(tenant, json=None, **headers):
    return await tenant.post("/v1/auth/token", json, headers=headers)


def as_bearer(tenant, token):
    return type(tenant)(tenant._http, token, tenant.body)


async def test_api_key_gets_a_token_that_acts_as_the_key(tenant):
    answer = await exchange(tenant)

    body = answer.json()
    assert (answer.status_code, body["token_type"], body["expires_in"]) == (200, "Bearer", 900)
    assert set(body) == {"access_token", "token_type", "expires_in"}
    assert answer.headers["cache-control"] == "private, no-store"
    claims = jwt.decode(body["access_token"], options={"verify_signature": False})
    assert (claims["exp"] - claims["iat"], claims["tid"]) == (900, tenant.tenant_id)
    assert "permissions" not in claims
    row = await as_bearer(tenant, body["access_token"]).create("projects", name="By token")
    assert row["created_by"] == f"key:{tenant.body['api_key']['id']}"
    by_header = await tenant._http.post("/v1/auth/token", headers={"X-API-Key": tenant.key})
    assert by_header.status_code == 200


async def test_lifetime_and_permissions_are_as_asked(tenant, narrow_key):
    wish = {"ttl_seconds": 60, "permissions": ["projects:read", "tasks:read", "projects:read"]}
    token = (await exchange(tenant, wish)).json()
    assert token["expires_in"] == 60
    claims = jwt.decode(token["access_token"], options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 60
    assert claims["permissions"] == ["projects:read", "tasks:read"]

    caller = as_bearer(tenant, token["access_token"])
    assert (await caller.get("/v1/projects")).status_code == 200
    assert (await caller.post("/v1/projects", {"name": "No"})).status_code == 403
    for nothing in ({}, None, {"permissions": None}, {"ttl_seconds": 1}, {"ttl_seconds": 900}):
        assert (await exchange(tenant, nothing)).status_code == 200


@pytest.mark.parametrize(
    ("wish", "pointer", "code"),
    [
        ({"ttl_seconds": 901}, "/ttl_seconds", "out_of_range"),
        ({"ttl_seconds": 0}, "/ttl_seconds", "out_of_range"),
        ({"ttl_seconds": -1}, "/ttl_seconds", "out_of_range"),
        ({"ttl_seconds": "60"}, "/ttl_seconds", "wrong_type"),
        ({"ttl_seconds": 60.5}, "/ttl_seconds", "wrong_type"),
        ({"ttl_seconds": True}, "/ttl_seconds", "wrong_type"),
        ({"ttl_seconds": None}, "/ttl_seconds", "wrong_type"),
        ({"permissions": ["projects:fly"]}, "/permissions/0", "unknown_value"),
        ({"permissions": ["projects:read", "everyone"]}, "/permissions/1", "unknown_value"),
        ({"permissions": ["*"]}, "/permissions/0", "unknown_value"),
        ({"permissions": []}, "/permissions", "too_short"),
        ({"permissions": "projects:read"}, "/permissions", "wrong_type"),
        ({"role": "owner"}, "/role", "unknown_field"),
        ({"subject": "key:x"}, "/subject", "unknown_field"),
    ],
)
async def test_wish_that_cannot_be_is_refused(tenant, wish, pointer, code):
    assert (await exchange(tenant, {"ttl_seconds": 900})).status_code == 200

    refused = await exchange(tenant, wish)

    assert refused.status_code == 422
    assert [(e["pointer"], e["code"]) for e in refused.json()["errors"]] == [(pointer, code)]


async def test_key_gives_no_permission_that_it_has_not(tenant, narrow_key):
    narrow_key("projects:read", "projects:write")

    allowed = await exchange(tenant, {"permissions": ["projects:read"]})
    refused = await exchange(tenant, {"permissions": ["projects:read", "audit:read"]})

    assert allowed.status_code == 200
    assert (refused.status_code, refused.json()["code"]) == (403, "permission_denied")
    assert refused.json()["permission"] == "audit:read"
    plain = as_bearer(tenant, (await exchange(tenant)).json()["access_token"])
    assert (await plain.get("/v1/projects")).status_code == 200
    assert (await plain.get("/v1/audit")).status_code == 403


async def test_key_without_any_permission_may_still_be_exchanged(tenant, narrow_key):
    narrow_key()

    token = (await exchange(tenant)).json()["access_token"]

    assert (await as_bearer(tenant, token).get("/v1/projects")).status_code == 403


async def test_token_is_exchanged_for_no_other(tenant, member_with, operator, http):
    of_key = as_bearer(tenant, (await exchange(tenant)).json()["access_token"])
    for caller in (of_key, member_with(tenant), member_with(tenant, role="viewer")):
        refused = await exchange(caller)
        assert (refused.status_code, refused.json()["code"]) == (403, "api_key_required")
        assert (await exchange(caller, {"ttl_seconds": 60})).status_code == 403
    assert (await exchange(operator)).status_code == 401
    assert (await http.post("/v1/auth/token")).status_code == 401


async def test_token_ends_with_its_key(settings, serve, tenant, in_tenant):
    uncached = msgspec.structs.replace(settings, principal_cache_seconds=0)
    async with serve(create_app(uncached)) as http:
        caller = type(tenant)(http, tenant.key, tenant.body)
        token = as_bearer(caller, (await exchange(caller)).json()["access_token"])
        assert (await token.get("/v1/projects")).status_code == 200

        in_tenant(tenant, "UPDATE api_keys SET revoked_at = now()")

        assert (await token.get("/v1/projects")).status_code == 401
        assert (await exchange(caller)).status_code == 401


async def test_repeat_with_an_idempotency_key_gets_the_same_token(tenant):
    first, again = [await exchange(tenant, **{"Idempotency-Key": "one"}) for _ in range(2)]

    assert again.headers["idempotency-replayed"] == "true"
    assert again.json() == first.json()


@pytest.fixture
async def uncached(settings, serve):
    """An app that remembers no principal, so that what is revoked is so at once."""
    async with serve(
        create_app(msgspec.structs.replace(settings, principal_cache_seconds=0))
    ) as http:
        yield http


@pytest.fixture
def tokens(settings):
    return TokenIssuer(
        signing_key_from(settings), issuer=settings.jwt_issuer, audience=settings.jwt_audience
    )


@pytest.fixture
def member_of(in_tenant):
    def make(tenant, role):
        rows = in_tenant(
            tenant,
            """INSERT INTO members (tenant_id, email, name, role, created_by, updated_by)
            VALUES (%s, %s, 'M', %s, 'x', 'x') RETURNING id""",
            *(tenant.tenant_id, f"{uuid4()}@x.test", role),
        )
        return str(rows[0][0])

    return make


async def let_pass(valid_from):
    """Until a token is issued in a second that counts."""
    await asyncio.sleep(max(0, (valid_from - datetime.now(UTC)).total_seconds()) + 0.01)


async def revoke(caller, path):
    answer = await caller.post(path)
    assert answer.status_code == 200, answer.text
    valid_from = datetime.fromisoformat(answer.json()["tokens_valid_from"])
    now = datetime.now(UTC)
    assert now - timedelta(seconds=5) < valid_from <= now + timedelta(seconds=1)
    assert valid_from.microsecond == 0
    return valid_from


async def test_tokens_of_a_member_are_ended_and_nobody_elses(
    uncached, tenant, other_tenant, tokens, member_of
):
    owner = type(tenant)(uncached, tenant.key, tenant.body)
    member, colleague = member_of(tenant, "member"), member_of(tenant, "member")

    def token_of(subject, of=tenant):
        return as_bearer(owner, tokens.issue(subject, tenant_id=UUID(of.tenant_id)))

    key = f"key:{tenant.body['api_key']['id']}"
    before = token_of(member)
    others = [token_of(colleague), token_of(tenant.owner_id), token_of(key), owner]
    others.append(token_of(other_tenant.owner_id, other_tenant))
    for caller in (before, *others):
        assert (await caller.get("/v1/projects")).status_code == 200

    valid_from = await revoke(owner, f"/v1/members/{member}/revoke-tokens")

    assert (await before.get("/v1/projects")).status_code == 401
    for caller in others:
        assert (await caller.get("/v1/projects")).status_code == 200
    await let_pass(valid_from)
    assert (await token_of(member).get("/v1/projects")).status_code == 200


async def test_tokens_of_a_tenant_are_ended_and_its_keys_live_on(
    uncached, tenant, other_tenant, tokens, member_of
):
    owner = type(tenant)(uncached, tenant.key, tenant.body)
    subjects = [tenant.owner_id, member_of(tenant, "viewer")]
    subjects.append(f"key:{tenant.body['api_key']['id']}")

    def tokens_of_all():
        id = UUID(tenant.tenant_id)
        return [as_bearer(owner, tokens.issue(subject, tenant_id=id)) for subject in subjects]

    before = tokens_of_all()
    foreign = tokens.issue(other_tenant.owner_id, tenant_id=UUID(other_tenant.tenant_id))
    assert [(await caller.get("/v1/projects")).status_code for caller in before] == [200] * 3

    valid_from = await revoke(owner, "/v1/tenant/revoke-tokens")

    assert [(await caller.get("/v1/projects")).status_code for caller in before] == [401] * 3
    assert (await owner.get("/v1/projects")).status_code == 200
    assert (await as_bearer(owner, foreign).get("/v1/projects")).status_code == 200
    await let_pass(valid_from)
    after = tokens_of_all()
    assert [(await caller.get("/v1/projects")).status_code for caller in after] == [200] * 3


async def test_what_is_remembered_of_a_token_ends_within_the_cache(
    settings, serve, tenant, member_with
):
    cached = msgspec.structs.replace(settings, principal_cache_seconds=0.5)
    async with serve(create_app(cached)) as http:
        token = type(tenant)(http, member_with(tenant).key, tenant.body)
        assert (await token.get("/v1/projects")).status_code == 200
        await revoke(tenant, "/v1/tenant/revoke-tokens")

        deadline = time.monotonic() + 0.55
        while time.monotonic() < deadline:
            await token.get("/v1/projects")
            await asyncio.sleep(0.05)

        # Asking all the time does not keep it alive.
        assert (await token.get("/v1/projects")).status_code == 401


async def test_the_end_of_tokens_is_in_the_audit_log_and_never_moves_back(
    tenant, in_tenant, as_superuser
):
    later = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    path = f"/v1/members/{tenant.owner_id}/revoke-tokens"
    await revoke(tenant, path)
    await revoke(tenant, "/v1/tenant/revoke-tokens")

    entries = (await tenant.get("/v1/audit?limit=2")).json()["items"]
    key = f"key:{tenant.body['api_key']['id']}"
    assert [(e["entity"], e["action"], e["actor"]) for e in entries] == [
        ("tenants", "update", key),
        ("members", "update", key),
    ]
    assert all("tokens_valid_from" in entry["changes"] for entry in entries)
    in_tenant(tenant, "UPDATE members SET tokens_valid_from = %s", later)
    answer = await tenant.post(path)
    assert datetime.fromisoformat(answer.json()["tokens_valid_from"]) == later


async def test_who_may_end_whose_tokens(tenant, other_tenant, member_with, member_of, in_tenant):
    member, gone = member_of(tenant, "member"), member_of(tenant, "member")
    in_tenant(tenant, "UPDATE members SET deleted_at = now() WHERE id = %s", gone)
    paths = {
        "tenant": "/v1/tenant/revoke-tokens",
        "owner": f"/v1/members/{tenant.owner_id}/revoke-tokens",
        "member": f"/v1/members/{member}/revoke-tokens",
    }
    allowed = {"viewer": set(), "member": set(), "admin": {"member"}, "owner": set(paths)}
    before = in_tenant(tenant, "SELECT tokens_valid_from FROM members")

    for role, its in allowed.items():
        # The owner last: it ends the tokens with which the others ask.
        for what, path in paths.items():
            key_like = member_with(tenant, role=role) if role != "owner" else tenant
            answer = await key_like.post(path)
            assert answer.status_code == (200 if what in its else 403), (role, what)
    assert in_tenant(tenant, "SELECT tokens_valid_from FROM members") != before
    absent = await tenant.post(f"/v1/members/{uuid4()}/revoke-tokens")
    for id in (gone, other_tenant.owner_id, "x", tenant.tenant_id):
        refused = await tenant.post(f"/v1/members/{id}/revoke-tokens")
        assert (refused.status_code, refused.json()["code"]) == (404, absent.json()["code"])
    assert in_tenant(other_tenant, "SELECT tokens_valid_from FROM members") == [(None,)]


async def test_refused_revocation_changes_nothing(tenant, member_with, in_tenant):
    owner = f"/v1/members/{tenant.owner_id}/revoke-tokens"

    refused = await member_with(tenant, role="admin").post(owner)

    assert (refused.status_code, refused.json()["permission"]) == (403, "tenant:write")
    assert in_tenant(tenant, "SELECT tokens_valid_from, version FROM members") == [(None, 1)]
    assert (await tenant.post(owner)).status_code == 200
