"""`/v1/api-keys`: made, shown once, listed, rotated, revoked, and good for what they say."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from keyed import assert_replays, keyed
from refusals import assert_refused


def path_of(key):
    return f"/v1/api-keys/{key.body['api_key']['id']}"


def with_secret(key, answer):
    """The same caller with the key of another answer."""
    assert answer.status_code == 200, answer.text
    return type(key)(key._http, answer.json()["key"], key.body)


async def works(key):
    return (await key.get("/v1/me")).status_code == 200


async def test_key_is_shown_once_and_works(tenant, http):
    wish = {"name": "CI", "permissions": ["tasks:read", "projects:read", "tasks:read"]}

    answer = await tenant.post("/v1/api-keys", wish)

    made = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/v1/api-keys/{made['id']}"
    assert answer.headers["etag"] == '"1"'
    shown = {"id", "name", "prefix", "permissions", "created_at", "expires_at", "last_used_at"}
    assert shown | {"key"} <= set(made)
    assert not {"secret_hash", "previous_secret_hash", "tenant_id"} & set(made)
    assert made["permissions"] == ["projects:read", "tasks:read"]
    assert (made["expires_at"], made["last_used_at"]) == (None, None)
    key = made.pop("key")
    assert key.startswith(made["prefix"])
    assert made["prefix"].startswith("sk_")
    me = (await http.get("/v1/me", headers={"X-API-Key": key})).json()
    assert (me["actor"], me["permissions"]) == (f"key:{made['id']}", made["permissions"])
    found = await tenant.get(answer.headers["location"])
    assert (found.json(), found.headers["etag"]) == (made, '"1"')
    listed = (await tenant.get("/v1/api-keys")).json()["items"]
    assert made in listed
    assert key[-43:] not in (await tenant.get("/v1/audit")).text


async def test_key_without_a_list_has_all_that_its_maker_has(tenant, join, new_key, narrowed):
    admin = await join(tenant, "admin")
    narrow = narrowed(admin, permissions=["api_keys:write", "tasks:read"])

    whole = await new_key(admin)
    less = await new_key(narrow)

    permissions = (await admin.get("/v1/me")).json()["permissions"]
    assert (await whole.get("/v1/me")).json()["permissions"] == permissions
    assert whole.body["api_key"]["permissions"] is None
    assert less.body["api_key"]["permissions"] == ["api_keys:write", "tasks:read"]
    for key in (whole, less):
        assert (key.body["api_key"]["role"], key.body["api_key"]["member_id"]) == (
            *("admin", admin.owner_id),
        )


async def test_keys_are_listed_like_any_rows(tenant, new_key):
    made = {name: await new_key(tenant, name=name) for name in ("Alpha", "Beta", "Gamma")}
    ids = {name: key.body["api_key"]["id"] for name, key in made.items()}

    async def found(query):
        answer = await tenant.get(f"/v1/api-keys?{query}")
        return [row["id"] for row in answer.json()["items"]]

    assert await found("name=Beta") == [ids["Beta"]]
    assert await found("q=amm") == [ids["Gamma"]]
    assert await found(f"sort=name&id__in={','.join(ids.values())}") == [*ids.values()]
    assert await found(f"created_by=key:{tenant.body['api_key']['id']}&sort=-name&limit=1") == [
        ids["Gamma"]
    ]
    page = (await tenant.get("/v1/api-keys?limit=3&include_total=true")).json()
    assert (len(page["items"]), page["total"]) == (3, 4)
    assert len(await found(f"limit=3&cursor={page['next_cursor']}")) == 1


@pytest.mark.parametrize(
    "query",
    [
        "secret_hash=x",
        "previous_secret_hash__isnull=true",
        "previous_expires_at__isnull=true",
        "sort=secret_hash",
        "fields=name",
        "last_used_at__isnull=true",
    ],
)
async def test_what_no_list_of_keys_takes_is_refused(tenant, query):
    assert_refused(await tenant.get(f"/v1/api-keys?{query}"), 400, "bad_request")


@pytest.mark.parametrize(
    ("wish", "faults"),
    [
        ({"permissions": ["projects:fly"]}, {"/permissions/0": "unknown_permission"}),
        ({"permissions": ["projects:read", "x:y"]}, {"/permissions/1": "unknown_permission"}),
        ({"permissions": ["everyone"]}, None),
        ({"permissions": []}, None),
        ({"permissions": "projects:read"}, None),
        ({"permissions": ["projects:read"] * 1_001}, None),
        ({"name": ""}, None),
        ({"expires_at": "2020-01-01T00:00:00Z"}, {"/expires_at": "in_the_past"}),
        ({"expires_at": "2030-01-01T00:00:00"}, None),
        ({"expires_at": "9999-12-31T23:59:59-12:00"}, None),
        ({"expires_at": 1_900_000_000}, None),
        ({"role": "owner"}, None),
        ({"member_id": None}, None),
        ({"secret_hash": "x"}, None),
    ],
)
async def test_wish_for_no_key_is_refused(tenant, wish, faults):
    assert_refused(await tenant.post("/v1/api-keys", {"name": "K", **wish}), 422, "invalid", faults)
    assert len((await tenant.get("/v1/api-keys")).json()["items"]) == 1


async def test_revoked_key_is_refused_and_gone(tenant, new_key, uncached):
    key = await new_key(tenant)
    assert await works(uncached(key))

    stale = await tenant.delete(path_of(key), headers={"If-Match": '"2"'})
    revoked = await tenant.delete(path_of(key), headers={"If-Match": '"1"'})

    assert_refused(stale, 412, "precondition_failed")
    assert (revoked.status_code, revoked.content) == (204, b"")
    assert_refused(await uncached(key).get("/v1/me"), 401, "unauthenticated")
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/rotate")):
        assert_refused(await tenant(method, path_of(key) + path), 404, "not_found")
    assert len((await tenant.get("/v1/api-keys")).json()["items"]) == 1
    gone = (await tenant.get("/v1/api-keys?deleted=only")).json()["items"]
    assert [row["id"] for row in gone] == [key.body["api_key"]["id"]]
    assert (await tenant.get("/v1/stats")).json()["api_keys"] == 1


async def test_new_key_revokes_the_one_that_made_it_and_goes_on(tenant, new_key, uncached):
    new = await new_key(tenant)

    assert (await new.delete(path_of(tenant))).status_code == 204

    assert not await works(uncached(tenant))
    assert await works(uncached(new))


async def test_expired_key_is_refused(tenant, new_key, in_tenant, uncached):
    end = datetime.now(UTC) + timedelta(hours=1)
    key = await new_key(tenant, expires_at=end.isoformat())
    assert datetime.fromisoformat(key.body["api_key"]["expires_at"]) == end
    assert await works(uncached(key))

    id = key.body["api_key"]["id"]
    in_tenant(tenant, "UPDATE api_keys SET expires_at = now() WHERE id = %s", id)

    assert not await works(uncached(key))


async def test_rotated_key_keeps_all_but_its_secret(tenant, new_key, uncached):
    key = await new_key(tenant, name="CI", permissions=["tasks:read"])

    answer = await tenant.post(f"{path_of(key)}/rotate")

    before, after = dict(key.body["api_key"]), answer.json()
    assert answer.status_code == 200
    assert answer.headers["etag"] == '"2"'
    assert before.pop("key") != after["key"]
    assert after.pop("key").startswith(before["prefix"])
    changed = {"version", "updated_at", "updated_by"}
    assert {k: v for k, v in after.items() if k not in changed} == {
        k: v for k, v in before.items() if k not in changed
    }
    assert not await works(uncached(key))
    assert await works(uncached(with_secret(key, answer)))


async def test_secret_before_a_rotation_is_good_for_the_overlap(
    tenant, new_key, in_tenant, uncached
):
    first = await new_key(tenant)
    id = first.body["api_key"]["id"]

    second = with_secret(
        first, await tenant.post(f"{path_of(first)}/rotate", {"overlap_seconds": 60})
    )

    assert await works(uncached(first))
    assert await works(uncached(second))
    in_tenant(tenant, "UPDATE api_keys SET previous_expires_at = now() WHERE id = %s", id)
    assert not await works(uncached(first))
    assert await works(uncached(second))


async def test_overlap_ends_at_its_time_whatever_a_node_remembers(tenant, new_key):
    key = await new_key(tenant)
    rotated = await tenant.post(f"{path_of(key)}/rotate", {"overlap_seconds": 1})

    before = await works(key)
    await asyncio.sleep(1.05)

    assert (before, await works(key)) == (True, False)
    assert await works(with_secret(key, rotated))


async def test_only_the_last_secret_overlaps(tenant, new_key, uncached):
    first = await new_key(tenant)
    path = f"{path_of(first)}/rotate"
    second = with_secret(first, await tenant.post(path, {"overlap_seconds": 60}))

    third = with_secret(first, await tenant.post(path, {"overlap_seconds": 60}))
    assert [await works(uncached(key)) for key in (first, second, third)] == [False, True, True]

    fourth = with_secret(first, await tenant.post(path, {}))
    assert [await works(uncached(key)) for key in (second, third, fourth)] == [False, False, True]


async def test_key_rotates_itself(tenant, new_key, uncached):
    key = await new_key(tenant)

    new = with_secret(key, await key.post(f"{path_of(key)}/rotate", {"overlap_seconds": 0}))

    assert [await works(uncached(one)) for one in (key, new)] == [False, True]


@pytest.mark.parametrize("seconds", [-1, 30 * 24 * 3600 + 1, 1.5, "60", None])
async def test_overlap_out_of_bounds_is_refused(tenant, new_key, uncached, seconds):
    key = await new_key(tenant)

    refused = await tenant.post(f"{path_of(key)}/rotate", {"overlap_seconds": seconds})

    assert_refused(refused, 422, "invalid")
    assert await works(uncached(key))


async def test_rotation_heeds_the_version(tenant, new_key, uncached):
    key = await new_key(tenant)
    path = f"{path_of(key)}/rotate"

    stale = await tenant.post(path, headers={"If-Match": '"2"'})
    good = await tenant.post(path, headers={"If-Match": '"1"'})

    assert_refused(stale, 412, "precondition_failed")
    assert good.status_code == 200


async def test_repeats_tell_the_secret_again_and_keep_it_encrypted(tenant, in_tenant, uncached):
    created, rotated = keyed(), keyed()

    first = await tenant.post("/v1/api-keys", {"name": "K"}, **created)
    assert_replays(await tenant.post("/v1/api-keys", {"name": "K"}, **created), first)
    path = f"/v1/api-keys/{first.json()['id']}/rotate"
    second = await tenant.post(path, {"overlap_seconds": 9}, **rotated)
    assert_replays(await tenant.post(path, {"overlap_seconds": 9}, **rotated), second)

    assert len((await tenant.get("/v1/api-keys")).json()["items"]) == 2
    assert (await tenant.get(f"/v1/api-keys/{first.json()['id']}")).json()["version"] == 2
    kept = in_tenant(tenant, "SELECT answer FROM idempotency_keys")
    assert len(kept) == 2
    for answer in (first, second):
        secret = answer.json()["key"].encode()
        assert all(secret not in bytes(row[0]) for row in kept)


async def test_no_secret_and_no_hash_of_one_is_in_the_log(tenant, new_key, in_tenant):
    key = await new_key(tenant)
    await tenant.post(f"{path_of(key)}/rotate", {"overlap_seconds": 60})
    await tenant.delete(path_of(key))

    log = await tenant.get(f"/v1/audit?entity_id={key.body['api_key']['id']}")

    assert [entry["action"] for entry in log.json()["items"]] == ["soft_delete", "update", "insert"]
    hashes = in_tenant(
        tenant,
        "SELECT encode(secret_hash, 'hex'), encode(previous_secret_hash, 'hex') FROM api_keys",
    )
    for text in {text for row in hashes for text in row if text}:
        assert text not in log.text
    assert log.json()["items"][1]["changes"]["secret_hash"] == {"old": "***", "new": "***"}


async def test_key_of_another_tenant_is_as_absent_as_none(tenant, other_tenant, new_key, uncached):
    key = await new_key(other_tenant)

    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/rotate")):
        assert_refused(await tenant(method, path_of(key) + path), 404, "not_found")
    assert await works(uncached(key))
