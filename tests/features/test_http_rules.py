"""What holds for every route: methods, unknown paths, headers, request ids."""

import re

import pytest
from refusals import assert_refused

ITEM = "/v1/projects/0192f3a0-5b6c-7def-8abc-0123456789ab"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", ITEM, {"GET", "PATCH", "DELETE"}),
        ("POST", ITEM, {"GET", "PATCH", "DELETE"}),
        ("DELETE", "/v1/projects", {"GET", "POST"}),
        ("PATCH", "/v1/tasks", {"GET", "POST"}),
        ("GET", f"{ITEM}/restore", {"POST"}),
        ("POST", f"{ITEM}/history", {"GET"}),
        ("DELETE", "/v1/audit", {"GET"}),
        ("POST", "/v1/stats", {"GET"}),
        ("DELETE", "/v1/admin/tenants", {"GET", "POST"}),
    ],
)
async def test_method_that_a_route_lacks_is_refused_with_those_it_has(
    tenant, method, path, allowed
):
    refused = await tenant(method, path)

    assert_refused(refused, 405, "method_not_allowed")
    assert set(refused.headers["allow"].split(", ")) - {"HEAD", "OPTIONS"} == allowed


async def test_head_answers_as_get_does_but_without_a_body(tenant, http):
    row = await tenant.create("projects", name="Rocket")
    path = f"/v1/projects/{row['id']}"

    for asked in ("/v1/projects?limit=1", path, f"{path}/history", ITEM, "/v1/audit", "/v1/nope"):
        got, headed = [await tenant(method, asked) for method in ("GET", "HEAD")]
        assert (headed.status_code, headed.content) == (got.status_code, b"")
        kept = {name: value for name, value in got.headers.items() if name != "x-request-id"}
        assert kept.items() <= headed.headers.items()
    assert (await tenant("HEAD", path, headers={"If-None-Match": '"1"'})).status_code == 304
    assert (await http.head(path)).status_code == 401


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/rockets", f"{ITEM}/tasks", "/v1/audit/x"])
async def test_unknown_path_is_not_found(tenant, path):
    assert_refused(await tenant.get(path), 404, "not_found")


async def test_tenant_data_is_never_cached_whatever_the_answer(tenant, http, operator):
    row = await tenant.create("projects", name="Rocket")
    path = f"/v1/projects/{row['id']}"
    answers = {
        200: await tenant.get("/v1/projects"),
        304: await tenant.get(path, headers={"If-None-Match": '"1"'}),
        201: await tenant.post("/v1/projects", {"name": "Anvil"}),
        204: await tenant.delete(path),
        400: await tenant.get("/v1/projects?colour=red"),
        401: await http.get("/v1/projects"),
        404: await tenant.get(path),
        405: await tenant("PUT", path),
        409: await tenant.post("/v1/projects", {"name": "Anvil"}),
        415: await tenant("POST", "/v1/projects", content=b"x"),
        422: await tenant.post("/v1/projects", {}),
    }
    platform = await operator.get("/v1/admin/tenants")

    assert {status: answer.status_code for status, answer in answers.items()} == {
        status: status for status in answers
    }
    for answer in (*answers.values(), platform):
        assert answer.headers["cache-control"] == "private, no-store"
        assert answer.headers["vary"] == "Authorization, X-API-Key, X-Tenant-ID"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert len(answer.headers.get_list("x-request-id")) == 1


@pytest.mark.parametrize("sent", ["a", "abc.DEF-1_2", "x" * 128])
async def test_well_formed_request_id_is_echoed(tenant, sent):
    headers = {"X-Request-ID": sent}

    found = await tenant.get("/v1/projects", headers=headers)
    refused = await tenant.get(ITEM, headers=headers)

    assert found.headers["x-request-id"] == sent
    assert assert_refused(refused, 404, "not_found")["instance"] == sent


@pytest.mark.parametrize("sent", [None, "", "x" * 129, "a b", "a;b", "ü".encode(), b"a\x7f"])
async def test_missing_or_malformed_request_id_is_replaced_by_a_new_one(tenant, sent):
    headers = {} if sent is None else {"X-Request-ID": sent}

    answers = [await tenant.get("/v1/projects", headers=headers) for _ in range(2)]

    made = [answer.headers["x-request-id"] for answer in answers]
    assert made[0] != made[1]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]{16,128}", text) for text in made)


async def test_request_id_sent_twice_counts_as_none(tenant, http):
    headers = [("Authorization", f"Bearer {tenant.key}"), ("X-Request-ID", "a")]

    once = await http.get("/v1/projects", headers=headers)
    twice = await http.get("/v1/projects", headers=[*headers, ("X-Request-ID", "b")])

    assert once.headers["x-request-id"] == "a"
    assert twice.headers["x-request-id"] not in {"a", "b"}


async def test_trailing_slash_changes_nothing(tenant):
    row = await tenant.create("projects", name="Rocket")

    bare = await tenant.get("/v1/projects")
    slashed = await tenant.get("/v1/projects/")

    assert bare.json() == slashed.json()
    assert bare.json()["items"] == [row]
