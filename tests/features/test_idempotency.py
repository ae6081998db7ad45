"""`Idempotency-Key`: which requests are the same one, and what they are answered with."""

import asyncio
from uuid import uuid4

import httpx
import pytest
from keyed import assert_replays, is_replay, keyed
from refusals import assert_refused

from saas.auth.signing_key import signing_key_from
from saas.auth.tokens import TokenIssuer


async def count(tenant, path="/v1/projects"):
    return (await tenant.get(f"{path}?include_total=true&deleted=include")).json()["total"]


@pytest.fixture
def wish():
    slug = f"keyed-{uuid4().hex[:12]}"
    owner = {"email": f"ada@{slug}.test", "name": "Ada"}
    return {"slug": slug, "name": "Keyed", "plan": "free", "owner": owner}


async def test_repeat_gets_the_first_answer_and_does_nothing(tenant):
    key = keyed()

    first = await tenant.post("/v1/projects", {"name": "Rocket"}, **key)
    again = [await tenant.post("/v1/projects", {"name": "Rocket"}, **key) for _ in range(2)]

    assert first.status_code == 201
    for repeat in again:
        assert_replays(repeat, first)
    assert {"location", "etag", "content-type"} <= set(again[0].headers)
    assert again[0].headers["x-request-id"] != first.headers["x-request-id"]
    assert await count(tenant) == 1


async def test_repeated_onboarding_tells_the_key_again(operator, http, wish):
    key = keyed()

    first = await operator.post("/v1/admin/tenants", wish, **key)
    again = await operator.post("/v1/admin/tenants", wish, **key)
    other = await operator.post("/v1/admin/tenants", wish, **keyed())

    assert first.status_code == 201
    assert_replays(again, first)
    bearer = {"Authorization": f"Bearer {again.json()['api_key']['key']}"}
    assert (await http.get("/v1/projects", headers=bearer)).status_code == 200
    assert_refused(other, 409, "already_exists", {"/slug": "taken"})


async def test_onboarding_that_is_refused_is_refused_again(operator, wish):
    key, plan = keyed(), wish | {"plan": "gold"}

    first = await operator.post("/v1/admin/tenants", plan, **key)
    again = await operator.post("/v1/admin/tenants", plan, **key)
    corrected = await operator.post("/v1/admin/tenants", wish, **keyed())

    assert_refused(first, 422, "invalid", {"/plan": "unknown_reference"})
    assert_replays(again, first)
    assert corrected.status_code == 201


async def test_same_key_with_another_body_or_query_is_refused(tenant):
    key = keyed()
    first = await tenant.post("/v1/projects", {"name": "Rocket"}, **key)

    for path, body in (
        ("/v1/projects", {"name": "Anvil"}),
        ("/v1/projects", None),
        ("/v1/projects?name=Rocket", {"name": "Rocket"}),
    ):
        assert_refused(await tenant.post(path, body, **key), 422, "idempotency_key_reused")

    assert_replays(await tenant.post("/v1/projects", {"name": "Rocket"}, **key), first)
    assert await count(tenant) == 1


async def test_key_of_another_tenant_is_a_key_that_nobody_has_used(tenant, other_tenant):
    key, body = keyed(), {"name": "Rocket"}
    ours = await tenant.post("/v1/projects", body, **key)

    theirs = await other_tenant.post("/v1/projects", body, **key)
    # With another body it would be told apart, if it were looked for among all.
    unused = await other_tenant.post("/v1/projects", {"name": "Anvil"}, **keyed())

    assert [a.status_code for a in (ours, theirs, unused)] == [201, 201, 201]
    assert not is_replay(theirs)
    assert theirs.json()["id"] != ours.json()["id"]
    assert theirs.headers.keys() == unused.headers.keys()


async def test_key_of_another_principal_of_the_tenant_is_its_own(tenant, member_with):
    key, owner = keyed(), member_with(tenant)
    first = await tenant.post("/v1/projects", {"name": "Rocket"}, **key)

    other = await owner.post("/v1/projects", {"name": "Anvil"}, **key)
    same = await member_with(tenant).post("/v1/projects", {"name": "Anvil"}, **key)

    assert [first.status_code, other.status_code] == [201, 201]
    assert not is_replay(other)
    assert_replays(same, other)


async def test_operators_do_not_share_their_keys(operator, http, settings, wish):
    names = {"issuer": settings.jwt_issuer, "audience": settings.platform_audience}
    tokens = TokenIssuer(signing_key_from(settings), requires_tenant=False, **names)
    key = keyed()["headers"]
    first = await operator.post("/v1/admin/tenants", wish, headers=key)

    headers = {"Authorization": f"Bearer {tokens.issue('ops', tenant_id=None)}", **key}
    other = await http.post("/v1/admin/tenants", json=wish, headers=headers)

    assert first.status_code == 201
    assert_refused(other, 409, "already_exists")


async def test_same_key_on_another_route_or_row_is_its_own(tenant):
    project, key = await tenant.create("projects", name="Rocket"), keyed()
    rows = [await tenant.create("tasks", project_id=project["id"], title=t) for t in "ab"]
    paths = [f"/v1/tasks/{row['id']}" for row in rows]
    for path in paths:
        assert (await tenant.delete(path)).status_code == 204

    answers = [await tenant.post(f"{path}/restore", **key) for path in paths]
    answers.append(await tenant.post("/v1/projects", {"name": "Anvil"}, **key))

    assert [a.status_code for a in answers] == [200, 200, 201]
    assert [a.json()["id"] for a in answers[:2]] == [row["id"] for row in rows]
    for path, first in zip(paths, answers, strict=False):
        assert_replays(await tenant.post(f"{path}/restore", **key), first)


async def test_refusal_is_kept_even_when_its_reason_is_gone(tenant):
    taken, key = await tenant.create("projects", name="Rocket"), keyed()
    first = await tenant.post("/v1/projects", {"name": "Rocket"}, **key)
    await tenant.delete(f"/v1/projects/{taken['id']}")

    again = await tenant.post("/v1/projects", {"name": "Rocket"}, **key)
    anew = await tenant.post("/v1/projects", {"name": "Rocket"}, **keyed())

    # Not assert_refused: the instance is the first request's.
    assert_replays(again, first)
    assert_refused(first, 409, "already_exists", {"/name": "taken"})
    assert again.json()["instance"] == first.headers["x-request-id"]
    assert anew.status_code == 201


@pytest.mark.parametrize(
    ("content", "status"),
    [(b"", 400), (b"{", 400), (b"[]", 422), (b'{"name": ""}', 422), (b'{"name": "\xff"}', 400)],
)
async def test_refused_body_is_refused_again(tenant, content, status):
    headers = keyed()["headers"] | {"Content-Type": "application/json"}

    first, again = [
        await tenant("POST", "/v1/projects", content=content, headers=headers) for _ in range(2)
    ]

    assert first.status_code == status
    assert_replays(again, first)


async def test_body_that_is_too_large_is_refused_before_its_key_counts(tenant, settings):
    key, body = keyed(), {"name": "Rocket", "description": "x" * settings.max_body_bytes}

    refused = [await tenant.post("/v1/projects", body, **key) for _ in range(2)]
    taken = await tenant.post("/v1/projects", {"name": "Rocket"}, **key)

    for answer in refused:
        assert_refused(answer, 413, "content_too_large")
        assert not is_replay(answer)
    assert taken.status_code == 201


async def test_permission_is_asked_for_before_the_first_answer_is_told(tenant, member_with):
    key, owner, viewer = keyed(), member_with(tenant), member_with(tenant, role="viewer")
    first = await owner.post("/v1/projects", {"name": "Rocket"}, **key)

    refused = await viewer.post("/v1/projects", {"name": "Rocket"}, **key)
    unknown = await viewer.post("/v1/projects", {"name": "Rocket"}, **keyed())
    nobody = await type(owner)(owner._http, "x", {}).post("/v1/projects", {"name": "Rocket"}, **key)

    assert_refused(refused, 403, "permission_denied")
    assert {**refused.json(), "instance": ""} == {**unknown.json(), "instance": ""}
    assert_refused(nobody, 401, "unauthenticated")
    assert_replays(await owner.post("/v1/projects", {"name": "Rocket"}, **key), first)


@pytest.mark.parametrize(
    "values",
    [
        [b""],
        [b"a b"],
        [b"a\tb"],
        [b"\xc3\xa4"],
        [b"a" * 256],
        [b"\x7f"],
        [b"a", b"a"],
        [b"a", b"b"],
    ],
)
async def test_malformed_or_doubled_key_is_refused(tenant, http, values):
    bearer = (b"Authorization", f"Bearer {tenant.key}".encode())
    headers = [bearer, *((b"Idempotency-Key", value) for value in values)]

    refused = await http.post("/v1/projects", json={"name": "Rocket"}, headers=headers)

    assert_refused(refused, 400, "bad_request")
    assert "Idempotency-Key" in refused.json()["detail"]
    assert await count(tenant) == 0


@pytest.mark.parametrize("key", ["!", "~" * 255, '"8e03978e-40d5-43dd-bc93-6894a57f9324"', "a,b"])
async def test_any_visible_text_is_a_key(tenant, key):
    first = await tenant.post("/v1/projects", {"name": "Rocket"}, **keyed(key))

    again = await tenant.post("/v1/projects", {"name": "Rocket"}, **keyed(key))

    assert first.status_code == 201
    assert_replays(again, first)


async def test_key_means_nothing_on_other_methods(tenant):
    key, row = keyed("x"), await tenant.create("projects", name="Rocket")
    path = f"/v1/projects/{row['id']}"

    names = [(await tenant.patch(path, {"name": n}, **key)).json()["name"] for n in ("A1", "B1")]
    read = [await tenant.get(path, **keyed("not a key")) for _ in range(2)]

    assert names == ["A1", "B1"]
    assert [answer.status_code for answer in read] == [200, 200]


async def test_twenty_at_once_have_one_effect_and_one_answer(tenant):
    key = keyed()

    answers = await asyncio.gather(
        *(tenant.post("/v1/projects", {"name": "Rocket"}, **key) for _ in range(20))
    )

    done = [a for a in answers if a.status_code == 201]
    for running in [a for a in answers if a.status_code != 201]:
        assert_refused(running, 409, "idempotency_key_in_use")
    assert len({a.content for a in done}) == 1
    assert [is_replay(a) for a in done].count(False) == 1
    assert await count(tenant) == 1


def post_operations(document):
    return {
        path: operations["post"]
        for path, operations in document["paths"].items()
        if "post" in operations
    }


async def test_every_post_documents_the_key(http: httpx.AsyncClient):
    posts = post_operations((await http.get("/openapi.json")).json())

    assert {"/v1/projects", "/v1/projects/{id}/restore", "/v1/admin/tenants"} <= set(posts)
    for path, operation in posts.items():
        keys = [p for p in operation["parameters"] if p.get("name") == "Idempotency-Key"]
        if not operation["security"]:
            # Without a caller there is nobody to whom a first answer could be told again.
            assert keys == [], path
            continue
        (key,) = keys
        assert (key["in"], key["required"]) == ("header", False), path
        assert {"400", "409", "422"} <= set(operation["responses"]), path


async def test_answer_is_not_told_to_a_token_that_carries_less(tenant, http):
    key, wish = keyed(), {"name": "Whole"}
    asked = {"permissions": ["api_keys:write"]}
    narrow = (await tenant.post("/v1/auth/token", asked)).json()["access_token"]
    whole = (await tenant.post("/v1/auth/token")).json()["access_token"]
    first = await tenant.post("/v1/api-keys", wish, **key)

    told = {
        token: await http.post(
            "/v1/api-keys",
            json=wish,
            headers={**key["headers"], "Authorization": f"Bearer {token}"},
        )
        for token in (narrow, whole)
    }

    assert_refused(told[narrow], 403, "permission_denied")
    assert_replays(told[whole], first)
