"""`/v1/members`: who is there, who changes whom, and who goes."""

import pytest
from refusals import assert_refused

ROLES = ("viewer", "member", "admin", "owner")


async def ids(caller, query=""):
    return {
        row["id"] for row in (await caller.get(f"/v1/members?limit=100{query}")).json()["items"]
    }


async def test_member_has_the_shape_of_the_contract(tenant):
    row = (await tenant.get("/v1/members")).json()["items"][0]

    assert {"id", "email", "name", "role", "status", "joined_at", "version"} <= set(row)
    assert not {"tenant_id", "tokens_valid_from"} & set(row)
    assert (row["id"], row["role"], row["status"]) == (tenant.owner_id, "owner", "active")
    single = await tenant.get(f"/v1/members/{row['id']}")
    assert (single.json(), single.headers["etag"]) == (row, '"1"')


async def test_members_are_listed_like_any_rows(tenant, join):
    people = [await join(tenant, role, email=f"{role}@list.test") for role in ROLES]
    by_role = dict(zip(ROLES, (person.owner_id for person in people), strict=True))

    assert await ids(tenant) == {*by_role.values(), tenant.owner_id}
    assert await ids(tenant, "&role=admin") == {by_role["admin"]}
    assert await ids(tenant, "&role__in=admin,viewer") == {by_role["admin"], by_role["viewer"]}
    assert await ids(tenant, "&or=(role.eq.member,status.eq.suspended)") == {by_role["member"]}
    assert await ids(tenant, "&email=viewer@list.test") == {by_role["viewer"]}
    assert await ids(tenant, "&q=LIST.test admin") == {by_role["admin"]}
    assert await ids(tenant, "&status=suspended") == set()
    page = (await tenant.get("/v1/members?sort=email&limit=2&include_total=true")).json()
    assert [row["email"] for row in page["items"]] == ["admin@list.test", "member@list.test"]
    assert page["total"] == 5
    rest = (await tenant.get(f"/v1/members?sort=email&limit=3&cursor={page['next_cursor']}")).json()
    assert len(rest["items"]) == 3
    assert set((await tenant.get("/v1/members?fields=id,email")).json()["items"][0]) == {
        "id",
        "email",
    }


@pytest.mark.parametrize("query", ["tokens_valid_from__isnull=true", "tenant_id=1", "sort=colour"])
async def test_what_no_list_of_members_takes_is_refused(tenant, query):
    assert (await tenant.get("/v1/members")).status_code == 200
    assert_refused(await tenant.get(f"/v1/members?{query}"), 400, "bad_request")


async def test_role_name_and_status_are_changed_under_a_version(tenant, join):
    person = await join(tenant, "member")
    path = f"/v1/members/{person.owner_id}"

    changed = await tenant.patch(
        path, {"role": "admin", "name": "Ada"}, headers={"If-Match": '"1"'}
    )
    stale = await tenant.patch(path, {"role": "viewer"}, headers={"If-Match": '"1"'})
    stale_body = await tenant.patch(path, {"role": "viewer", "version": 1})
    same = await tenant.patch(path, {"role": "admin", "name": "Ada", "version": 2})

    assert changed.status_code == 200
    row = changed.json()
    assert (row["role"], row["name"], row["version"]) == ("admin", "Ada", 2)
    assert_refused(stale, 412, "precondition_failed")
    assert_refused(stale_body, 409, "version_conflict")
    assert same.json() == row == (await tenant.get(path)).json()
    log = (await tenant.get(f"/v1/audit?entity=members&entity_id={person.owner_id}")).json()[
        "items"
    ]
    assert [entry["action"] for entry in log] == ["update", "insert"]
    assert log[0]["changes"]["role"] == {"old": "member", "new": "admin"}


@pytest.mark.parametrize(
    "body",
    [
        {"email": "other@x.test"},
        {"role": "emperor"},
        {"role": None},
        {"status": "deleted"},
        {"name": " "},
        {"tokens_valid_from": None},
        {"joined_at": "2026-01-01T00:00:00Z"},
    ],
)
async def test_what_cannot_be_changed_of_a_member_is_refused(tenant, join, body):
    path = f"/v1/members/{(await join(tenant)).owner_id}"
    before = (await tenant.get(path)).json()

    assert_refused(await tenant.patch(path, body), 422, "invalid")
    assert (await tenant.get(path)).json() == before


async def test_removed_member_is_gone_from_lists_and_can_do_nothing(tenant, join, uncached):
    person = await join(tenant, "admin")
    path = f"/v1/members/{person.owner_id}"
    assert (await uncached(person).get("/v1/me")).status_code == 200

    removed = await tenant.delete(path, headers={"If-Match": '"1"'})

    assert (removed.status_code, removed.content) == (204, b"")
    assert (await uncached(person).get("/v1/me")).status_code == 401
    for method, body in (("GET", None), ("PATCH", {"role": "viewer"}), ("DELETE", None)):
        assert_refused(await tenant(method, path, json=body), 404, "not_found")
    assert person.owner_id not in await ids(tenant)
    # Who has done something must still have a name.
    assert person.owner_id in await ids(tenant, "&deleted=only")


async def test_removed_members_are_listed_to_who_may_write_members(tenant, join):
    admin, viewer = await join(tenant, "admin"), await join(tenant, "viewer")

    assert (await admin.get("/v1/members?deleted=include")).status_code == 200
    assert_refused(await viewer.get("/v1/members?deleted=include"), 403, "permission_denied")


async def test_removed_address_may_be_invited_again_as_somebody_else(tenant, join, uncached):
    first = await join(tenant, "admin", email="again@x.test")
    assert (await tenant.delete(f"/v1/members/{first.owner_id}")).status_code == 204

    second = await join(tenant, "viewer", email="again@x.test")

    assert second.owner_id != first.owner_id
    assert (await uncached(first).get("/v1/me")).status_code == 401
    assert (await uncached(second).get("/v1/me")).json()["role"] == "viewer"


async def test_suspended_member_is_out_until_the_suspension_is_lifted(tenant, join, uncached):
    person = await join(tenant, "member")
    path, there = f"/v1/members/{person.owner_id}", uncached(person)

    for status, answer in (("suspended", 401), ("active", 200)):
        assert (await tenant.patch(path, {"status": status})).json()["status"] == status
        assert (await there.get("/v1/projects")).status_code == answer


async def test_any_member_may_leave_and_remove_nobody_else(tenant, join, uncached):
    other = await join(tenant, "viewer")

    for role in ("viewer", "member"):
        person = await join(tenant, role)
        assert_refused(
            await person.delete(f"/v1/members/{other.owner_id}"), 403, "permission_denied"
        )
        assert_refused(
            await person.delete(f"/v1/members/{other.owner_id.upper()}"), 403, "permission_denied"
        )
        assert (await person.delete(f"/v1/members/{person.owner_id}")).status_code == 204
        assert (await uncached(person).get("/v1/me")).status_code == 401
    assert other.owner_id in await ids(tenant)


async def test_narrowed_token_does_not_take_its_member_out(tenant, join, narrowed):
    person = await join(tenant, "viewer")
    path = f"/v1/members/{person.owner_id}"

    refused = await narrowed(person, permissions=["projects:read"]).delete(path)

    assert_refused(refused, 403, "permission_denied")
    assert (await narrowed(person, permissions=["members:read"]).delete(path)).status_code == 204


async def test_task_of_a_removed_member_stays(tenant, join):
    person = await join(tenant)
    project = await tenant.create("projects", name="Rocket")
    wish = {"project_id": project["id"], "title": "Fly", "assignee_id": person.owner_id}
    task = await tenant.create("tasks", **wish)

    assert (await tenant.delete(f"/v1/members/{person.owner_id}")).status_code == 204

    assert (await tenant.get(f"/v1/tasks/{task['id']}")).json() == task
    again = await tenant.post("/v1/tasks", {**wish, "title": "Land"})
    assert_refused(again, 422, "invalid", {"/assignee_id": "unknown_reference"})


@pytest.mark.parametrize(
    ("method", "body"),
    [
        ("PATCH", {"role": "admin"}),
        ("PATCH", {"status": "suspended"}),
        ("DELETE", None),
    ],
)
async def test_last_owner_neither_goes_nor_steps_down(tenant, join, method, body):
    # The operator's own key may do all that an owner may, and is no owner.
    path = f"/v1/members/{tenant.owner_id}"
    suspended = await join(tenant, "owner")
    status = {"status": "suspended"}
    assert (await tenant.patch(f"/v1/members/{suspended.owner_id}", status)).status_code == 200

    assert_refused(await tenant(method, path, json=body), 409, "last_owner")
    assert (await tenant.patch(path, {"name": "Still here"})).status_code == 200

    await tenant.patch(f"/v1/members/{suspended.owner_id}", {"status": "active"})
    assert (await tenant(method, path, json=body)).is_success


async def test_last_owner_cannot_leave(tenant, join):
    first, second = await join(tenant, "owner"), await join(tenant, "owner")
    assert (await tenant.delete(f"/v1/members/{tenant.owner_id}")).status_code == 204

    assert (await first.delete(f"/v1/members/{first.owner_id}")).status_code == 204
    refused = await second.delete(f"/v1/members/{second.owner_id}")

    assert_refused(refused, 409, "last_owner")
    assert await ids(tenant) == {second.owner_id}


async def test_member_of_another_tenant_is_as_absent_as_nobody(tenant, other_tenant, join):
    person = await join(other_tenant, "owner")
    path = f"/v1/members/{person.owner_id}"

    for method, body in (("GET", None), ("PATCH", {"role": "viewer"}), ("DELETE", None)):
        assert_refused(await tenant(method, path, json=body), 404, "not_found")
    assert (await other_tenant.get(path)).json()["version"] == 1
