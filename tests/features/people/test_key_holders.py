"""A key is good for no more than the person who knows its secret by us: who made it or rotated it
last. What operators have made is held to nobody."""

import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from refusals import assert_refused

from saas.identity import token_issuer


def path_of(key):
    return f"/v1/api-keys/{key.body['api_key']['id']}"


async def permissions_of(key):
    """None for a key that is refused."""
    me = await key.get("/v1/me")
    return set(me.json()["permissions"]) if me.status_code == 200 else None


@pytest.fixture
def change(tenant):
    """Changes a member, or removes him."""

    async def change(member, **changes):
        path = f"/v1/members/{member.owner_id}"
        done = await (tenant.patch(path, changes) if changes else tenant.delete(path))
        assert done.is_success, done.text

    return change


async def test_key_follows_its_person(tenant, join, new_key, change, uncached):
    admin = await join(tenant, "admin")
    key = uncached(await new_key(admin))
    narrow = uncached(await new_key(admin, permissions=["projects:read", "projects:purge"]))
    whole = await permissions_of(admin)
    assert await permissions_of(key) == whole

    await change(admin, role="viewer")
    assert await permissions_of(key) == await permissions_of(uncached(admin)) < whole
    assert await permissions_of(narrow) == {"projects:read"}

    await change(admin, role="owner")
    assert await permissions_of(key) == whole, "no more than it was made with"

    await change(admin, status="suspended")
    assert [await permissions_of(one) for one in (key, narrow)] == [None, None]
    await change(admin, status="active")
    assert await permissions_of(narrow) == {"projects:read", "projects:purge"}

    await change(admin)
    assert [await permissions_of(one) for one in (key, narrow)] == [None, None]


async def test_key_that_a_key_has_made_follows_the_person_too(
    tenant, join, new_key, change, uncached
):
    admin = await join(tenant, "admin")
    first = await new_key(admin)
    second = await new_key(first)
    third = uncached(await new_key(second))
    for key in (first, second):
        assert (await tenant.delete(path_of(key))).status_code == 204
    assert third.body["api_key"]["member_id"] == admin.owner_id
    assert await permissions_of(third)

    await change(admin)

    assert await permissions_of(third) is None


async def test_key_that_an_operator_has_made_follows_nobody(
    tenant, join, new_key, change, uncached
):
    second_owner = await join(tenant, "owner")
    key = uncached(await new_key(tenant))

    await tenant.delete(f"/v1/members/{tenant.owner_id}")
    assert key.body["api_key"]["member_id"] is None
    assert await permissions_of(key) == await permissions_of(second_owner)


async def test_whoever_rotates_a_key_answers_for_it(tenant, join, new_key, change, uncached):
    old, new = await join(tenant, "admin"), await join(tenant, "admin")
    key = await new_key(old)

    rotated = await new.post(f"{path_of(key)}/rotate")
    after = uncached(type(key)(key._http, rotated.json()["key"], key.body))

    assert rotated.json()["member_id"] == new.owner_id
    await change(old)
    assert await permissions_of(after)
    # Not even by letting the key rotate itself does he get away.
    again = await after.post(f"{path_of(key)}/rotate")
    last = uncached(type(key)(key._http, again.json()["key"], key.body))
    assert again.json()["member_id"] == new.owner_id
    await change(new)
    assert await permissions_of(last) is None


async def test_secret_before_a_takeover_stays_with_who_knows_it(
    tenant, join, new_key, change, uncached
):
    old, new = await join(tenant, "admin"), await join(tenant, "admin")
    key = await new_key(old)
    whole = await permissions_of(key)

    rotated = await new.post(f"{path_of(key)}/rotate", {"overlap_seconds": 60})
    before, after = uncached(key), uncached(type(key)(key._http, rotated.json()["key"], key.body))

    assert await permissions_of(after) == whole
    # What it made now would be held to the other.
    assert await permissions_of(before) == whole - {"members:write", "api_keys:write"}
    await change(old, role="viewer")
    assert await permissions_of(before) == await permissions_of(uncached(old))
    await change(old)
    assert await permissions_of(before) is None
    assert await permissions_of(after) == whole


async def test_secret_before_outlives_the_member_who_took_the_key_over(
    tenant, join, new_key, change, uncached
):
    key = await new_key(tenant, permissions=["tasks:read", "api_keys:write"])
    admin = await join(tenant, "admin")

    rotated = await admin.post(f"{path_of(key)}/rotate", {"overlap_seconds": 60})
    after = uncached(type(key)(key._http, rotated.json()["key"], key.body))
    await change(admin)

    assert await permissions_of(after) is None
    assert await permissions_of(uncached(key)) == {"tasks:read"}


async def test_secret_before_ones_own_rotation_is_as_good_as_the_new_one(
    tenant, join, new_key, uncached
):
    admin = await join(tenant, "admin")
    key = await new_key(admin)
    whole = await permissions_of(key)

    await admin.post(f"{path_of(key)}/rotate", {"overlap_seconds": 60})

    assert await permissions_of(uncached(key)) == whole


async def test_key_of_who_is_gone_is_taken_over_by_rotating_it(
    tenant, join, new_key, change, uncached
):
    admin = await join(tenant, "admin")
    key = await new_key(admin, permissions=["tasks:read"])
    await change(admin)
    assert await permissions_of(uncached(key)) is None

    rotated = await tenant.post(f"{path_of(key)}/rotate")

    taken = uncached(type(key)(key._http, rotated.json()["key"], key.body))
    assert await permissions_of(taken) == {"tasks:read"}
    assert await permissions_of(uncached(key)) is None


async def test_key_that_expires_makes_none_that_lives_longer(tenant, new_key):
    end = datetime.now(UTC) + timedelta(hours=1)
    short = await new_key(tenant, expires_at=end.isoformat())

    for later in (None, (end + timedelta(seconds=1)).isoformat()):
        refused = await short.post("/v1/api-keys", {"name": "K", "expires_at": later})
        assert_refused(refused, 403, "outlives_creator")
    refused = await short.post(f"{path_of(tenant)}/rotate")
    assert_refused(refused, 403, "outlives_creator")
    child = await new_key(short, expires_at=end.isoformat())
    assert (await child.post(f"{path_of(short)}/rotate")).status_code == 200


@pytest.fixture
def token_of(http):
    """What a key is exchanged for."""

    async def make(key):
        answer = await key.post("/v1/auth/token")
        assert answer.status_code == 200, answer.text
        return type(key)(http, answer.json()["access_token"], key.body)

    return make


async def test_token_ends_with_the_secret_that_it_was_got_for(tenant, new_key, token_of, uncached):
    key = await new_key(tenant)
    token = uncached(await token_of(key))
    assert await permissions_of(token)

    rotated = await tenant.post(f"{path_of(key)}/rotate", {"overlap_seconds": 60})
    after = type(key)(key._http, rotated.json()["key"], key.body)
    # Got by the secret before while the two overlap, it ends with that one all the same.
    late, new = uncached(await token_of(uncached(key))), uncached(await token_of(uncached(after)))
    assert await permissions_of(token) == await permissions_of(late) == await permissions_of(new)
    in_turn = await tenant.post(f"{path_of(key)}/rotate", {"overlap_seconds": 60})
    assert in_turn.is_success

    assert [await permissions_of(one) for one in (token, late)] == [None, None]
    assert await permissions_of(new)
    assert (await tenant.post(f"{path_of(key)}/rotate")).is_success
    assert await permissions_of(new) is None


async def test_token_of_the_secret_before_a_takeover_is_worth_no_more_than_it(
    tenant, join, new_key, token_of, change, uncached
):
    old, new = await join(tenant, "admin"), await join(tenant, "admin")
    key = await new_key(old)
    rotated = await new.post(f"{path_of(key)}/rotate", {"overlap_seconds": 60})
    assert rotated.is_success

    token = uncached(await token_of(uncached(key)))

    assert await permissions_of(token) == await permissions_of(uncached(key))
    assert not {"members:write", "api_keys:write"} & await permissions_of(token)
    await change(old)
    assert await permissions_of(token) is None


async def test_token_that_an_operator_has_signed_ends_with_the_rotation(
    tenant, new_key, settings, uncached, monkeypatch
):
    key = await new_key(tenant)
    issuer = token_issuer(settings, settings.jwt_audience)
    subject, minute_ago = f"key:{key.body['api_key']['id']}", time.time() - 60
    with monkeypatch.context() as patch:
        patch.setattr("saas.auth.tokens.time.time", lambda: minute_ago)
        text = issuer.issue(subject, tenant_id=UUID(key.tenant_id))
    token = uncached(type(key)(key._http, text, key.body))
    assert await permissions_of(token)

    assert (await tenant.post(f"{path_of(key)}/rotate")).is_success

    assert await permissions_of(token) is None


async def test_token_of_a_key_follows_its_person(tenant, join, new_key, token_of, change, uncached):
    admin = await join(tenant, "admin")
    token = uncached(await token_of(await new_key(admin)))
    assert await permissions_of(token)

    await change(admin)

    assert_refused(await token.get("/v1/me"), 401, "unauthenticated")
