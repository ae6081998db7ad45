"""`/v1/tenant`: every member reads it, an owner renames it, and no more than that."""

import pytest
from refusals import assert_refused


async def test_tenant_reads_itself_with_an_etag(tenant):
    answer = await tenant.get("/v1/tenant")
    again = await tenant.get("/v1/tenant", headers={"If-None-Match": answer.headers["etag"]})

    assert answer.status_code == 200
    assert answer.json() == tenant.body["tenant"]
    assert answer.headers["etag"] == '"1"'
    assert (again.status_code, again.content) == (304, b"")


async def test_rename_is_a_new_version_and_an_entry_of_the_log(tenant, other_tenant):
    renamed = await tenant.patch("/v1/tenant", {"name": "Acme & Sons"})

    assert renamed.status_code == 200
    assert (renamed.json()["name"], renamed.json()["version"]) == ("Acme & Sons", 2)
    assert renamed.headers["etag"] == '"2"'
    assert (await tenant.get("/v1/tenant")).json() == renamed.json()
    entry = (await tenant.get("/v1/audit?entity=tenants&action=update")).json()["items"][0]
    key = tenant.body["api_key"]["id"]
    assert (entry["actor"], entry["entity_id"]) == (f"key:{key}", tenant.tenant_id)
    assert entry["changes"] == {
        "name": {"old": tenant.body["tenant"]["name"], "new": "Acme & Sons"}
    }
    assert (await other_tenant.get("/v1/tenant")).json() == other_tenant.body["tenant"]


async def test_rename_to_the_same_name_changes_nothing(tenant):
    name = tenant.body["tenant"]["name"]

    for body in ({"name": name}, {}):
        assert (await tenant.patch("/v1/tenant", body)).json() == tenant.body["tenant"]

    assert (await tenant.get("/v1/audit?entity=tenants&action=update")).json()["items"] == []


@pytest.mark.parametrize(
    ("if_match", "version", "status"),
    [
        ("*", None, 200),
        ('"2"', None, 200),
        ('"1", "2"', None, 200),
        ('"2"', 2, 200),
        (None, 2, 200),
        (None, 1, 409),
        ('"1"', None, 412),
        ('W/"2"', None, 412),
        ('"1"', 2, 412),
        ("2", None, 400),
    ],
)
async def test_rename_heeds_the_version_that_it_is_given(tenant, if_match, version, status):
    await tenant.patch("/v1/tenant", {"name": "Second"})
    body = {"name": "Third"} | ({} if version is None else {"version": version})
    headers = {} if if_match is None else {"If-Match": if_match}

    unchanged = await tenant.patch("/v1/tenant", {**body, "name": "Second"}, headers=headers)
    answer = await tenant.patch("/v1/tenant", body, headers=headers)

    assert (unchanged.status_code, answer.status_code) == (status, status)
    if status in {409, 412}:
        assert answer.json()["current_version"] == 2
    name = (await tenant.get("/v1/tenant")).json()["name"]
    assert name == ("Third" if status == 200 else "Second")


@pytest.mark.parametrize(
    "body",
    [
        {"name": ""},
        {"name": "  "},
        {"name": "a" * 121},
        {"name": None},
        {"slug": "mine"},
        {"plan": "enterprise"},
        {"status": "active"},
        {"limit_overrides": {}},
    ],
)
async def test_what_is_no_name_is_refused(tenant, body):
    problem = assert_refused(await tenant.patch("/v1/tenant", body), 422, "invalid")

    assert [fault["pointer"] for fault in problem["errors"]] == [f"/{name}" for name in body]
    assert (await tenant.get("/v1/tenant")).json() == tenant.body["tenant"]


async def test_only_an_owner_renames_the_tenant(tenant, join):
    for role, status in (("viewer", 403), ("member", 403), ("admin", 403), ("owner", 200)):
        person = await join(tenant, role)
        assert (await person.get("/v1/tenant")).status_code == 200
        assert (await person.patch("/v1/tenant", {"name": "Mine"})).status_code == status
