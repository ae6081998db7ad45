"""An operator enters a tenant only through the glass, and the tenant sees every step."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from litestar import post
from litestar.types import ASGIApp

from isolation.attacks import body_for, own_path, token
from isolation.surface import ROUTES, TENANT_ROUTES
from isolation.worlds import populated
from saas.app import create_app
from saas.auth.permissions import PermissionCatalogue
from saas.features.projects import projects
from saas.tenancy.access_entry import permissions_of_access
from saas.web.answer import json_answer


def in_hours(hours):
    return (datetime.now(UTC) + timedelta(hours=hours)).isoformat()


@pytest.fixture(scope="session")
def enter(http, settings):
    """Open an access to a tenant; a caller with its credential."""

    async def run(tenant, *, client=http, key=settings.platform_key, **wish):
        path = f"/v1/admin/tenants/{tenant.tenant_id}/access"
        body = {"reason": "Ticket 42", "expires_at": in_hours(1), **wish}
        headers = {"Authorization": f"Bearer {key}"}
        opened = await http.post(path, json=body, headers=headers)
        assert opened.status_code == 201, opened.text
        token = opened.json()["access_token"]
        return type(tenant)(client, token, {**tenant.body, "access": opened.json()})

    return run


async def accesses(tenant):
    """What the tenant's log tells of operators, the newest first."""
    query = {"entity": "tenants", "action": "access", "limit": "100"}
    items = (await tenant.get("/v1/audit", params=query)).json()["items"]
    return [
        (item["actor"], {name: change["new"] for name, change in item["changes"].items()})
        for item in items
    ]


@pytest.fixture(scope="session")
async def looked_into(onboard, raw, enter):
    """A tenant with rows in every table, and a caller who may read them."""
    world = await populated(await onboard(), raw)
    return world, await enter(world.caller)


async def test_operator_reads_and_the_tenant_reads_of_it(tenant, operator, settings, enter):
    project = await tenant.create("projects", name="Rocket")
    ops = token(settings, "ops", None)

    inside = await enter(tenant, key=ops)
    answers = [
        await inside.get(f"/v1/projects/{project['id']}?fields=id,name"),
        await inside.get("/v1/projects?q=rock%20et"),
        await inside.get("/v1/audit"),
        await inside.get("/v1/stats"),
    ]

    assert [answer.status_code for answer in answers] == [200] * 4
    assert answers[0].json() == {"id": project["id"], "name": "Rocket"}
    *uses, opened = await accesses(tenant)
    grant = inside.body["access"]["id"]
    assert opened == (
        "platform:ops",
        {
            "grant": grant,
            "reason": "Ticket 42",
            "expires_at": inside.body["access"]["expires_at"],
            "write": False,
        },
    )
    assert [actor for actor, _ in uses] == ["platform:ops"] * 4
    told = [(use["method"], use["path"], use["query"]) for _, use in uses]
    assert told[::-1] == [
        ("GET", f"/v1/projects/{project['id']}", "fields=id,name"),
        ("GET", "/v1/projects", "q=rock%20et"),
        ("GET", "/v1/audit", ""),
        ("GET", "/v1/stats", ""),
    ]
    assert {use["grant"] for _, use in uses} == {grant}


async def test_entry_is_there_before_the_effect_and_where_it_is_refused(tenant, enter, superuser):
    inside = await enter(tenant, write=True)
    asked = {"headers": {"X-Request-ID": "glass-1"}}

    created = await inside.post("/v1/projects", {"name": "Rocket"}, **asked)
    refused = await inside.delete(f"/v1/projects/{created.json()['id']}?hard=true", **asked)
    absent = await inside.get(f"/v1/projects/{uuid4()}", **asked)
    bad = await inside.post("/v1/projects", {"colour": "red"}, **asked)

    statuses = [answer.status_code for answer in (created, refused, absent, bad)]
    assert statuses == [201, 403, 404, 422]
    log = superuser.execute(
        "SELECT action, entity, actor FROM audit_log WHERE tenant_id = %s AND request_id = %s "
        "ORDER BY id",
        [tenant.tenant_id, "glass-1"],
    ).fetchall()
    used = ("access", "tenants", "platform:key")
    assert log == [used, ("insert", "projects", "platform:key"), used, used, used]
    assert created.json()["created_by"] == "platform:key"


async def test_writing_is_for_rows_of_resources_alone(tenant, enter):
    inside = await enter(tenant, write=True)

    made = await inside.create("projects", name="Rocket")
    path = f"/v1/projects/{made['id']}"
    changed = await inside.patch(path, {"name": "Anvil"})
    deleted = await inside.delete(path)
    restored = await inside.post(f"{path}/restore")
    purged = await inside.delete(f"{path}?hard=true")

    statuses = [answer.status_code for answer in (changed, deleted, restored, purged)]
    assert statuses == [200, 204, 200, 403]
    actors = {e["actor"] for e in (await tenant.get(f"{path}/history")).json()["items"]}
    assert actors == {"platform:key"}


def test_no_access_reaches_credentials_members_or_the_tenant_itself():
    catalogue = PermissionCatalogue(["projects", "tasks"])

    reading = permissions_of_access(catalogue, may_write=False)
    writing = permissions_of_access(catalogue, may_write=True)

    assert reading == {
        *("projects:read", "tasks:read", "audit:read", "stats:read", "members:read"),
        "tenant:read",
    }
    assert writing == reading | {"projects:write", "tasks:write", "usage:write"}


@pytest.mark.parametrize("route", TENANT_ROUTES, ids=str)
async def test_no_route_writes_with_an_access_to_read(route, looked_into, enter, rows_of):
    world, reader = looked_into
    before = rows_of(world.caller)

    for query in ("", "?hard=true"):
        path = own_path(route, world) + query
        answer = await reader(route.method, path, json=body_for(route, world))
        if route.method in {"GET", "HEAD", "OPTIONS"}:
            assert answer.status_code != 401
        else:
            assert answer.status_code in {400, 403}, answer.text

    after = rows_of(world.caller)
    # The requests themselves are told.
    assert after.pop("audit_log") == before.pop("audit_log") + 2
    assert after == before


async def test_transaction_of_an_access_to_read_is_read_only(
    tenant, settings, serve, enter, rows_of
):
    """The second lock, where a route asks for less than it does."""
    app = create_app(settings)

    @post("/v1/leaky", opt={"permission": "projects:read"})
    async def leaky() -> ASGIApp:
        row = await projects.repository.create({"name": f"leak {uuid4()}"})
        return json_answer(row, 201)

    app.app.register(leaky)
    async with serve(app) as client:
        reader = await enter(tenant, client=client)
        writer = await enter(tenant, client=client, write=True)
        for headers in ({}, {"Idempotency-Key": "k1"}):
            refused = await reader.post("/v1/leaky", headers=headers)
            assert (refused.status_code, refused.json()["code"]) == (403, "read_only")
        assert rows_of(tenant)["projects"] == 0
        assert (await writer.post("/v1/leaky")).status_code == 201


async def test_access_ends_with_its_time_with_its_revocation_and_with_its_tenant(
    tenant, operator, enter, forgetful, superuser
):
    at = f"/v1/admin/tenants/{tenant.tenant_id}"
    revoked, expired, other = [await enter(tenant, client=forgetful) for _ in range(3)]
    ids = [caller.body["access"]["id"] for caller in (revoked, expired)]
    ended = "UPDATE access_grants SET expires_at = now() WHERE id = %s"

    async def statuses():
        return [(await c.get("/v1/projects")).status_code for c in (revoked, expired, other)]

    assert await statuses() == [200] * 3
    for _ in range(2):
        assert (await operator.delete(f"{at}/access/{ids[0]}")).status_code == 204
    superuser.execute(ended, [ids[1]])
    assert await statuses() == [401, 401, 200]
    told = [entry for _, entry in await accesses(tenant) if "revoked" in entry]
    assert told == [{"grant": ids[0], "revoked": True}]

    # A suspended tenant is closed to its members, not to who must look what is wrong.
    await operator.post(f"{at}/suspend")
    assert await statuses() == [401, 401, 200]
    await operator.delete(at)
    assert await statuses() == [401] * 3
    last = other.body["access"]["id"]
    assert (await operator.delete(f"{at}/access/{last}")).status_code == 204


async def test_access_that_a_node_remembers_ends_with_its_tenant_at_once(
    tenant, operator, enter, rows_of
):
    inside = await enter(tenant, write=True)
    assert (await inside.get("/v1/projects")).status_code == 200

    await operator.delete(f"/v1/admin/tenants/{tenant.tenant_id}")
    refused = await inside.post("/v1/projects", {"name": "Late"})

    # Nothing is done that the tenant cannot be told of.
    assert refused.status_code == 401
    assert rows_of(tenant)["projects"] == 0


async def test_access_opens_its_own_tenant_alone(tenant, other_tenant, enter, http):
    project = await other_tenant.create("projects", name="Theirs")
    inside = await enter(tenant, write=True)
    foreign = await enter(other_tenant)

    for selected in (other_tenant.tenant_id, other_tenant.body["tenant"]["slug"]):
        refused = await inside.get("/v1/projects", headers={"X-Tenant-ID": selected})
        assert refused.status_code == 404
    own = {"X-Tenant-ID": tenant.body["tenant"]["slug"]}
    assert (await inside.get("/v1/projects", headers=own)).status_code == 200
    path = f"/v1/projects/{project['id']}"
    for answer in (await inside.get(path), await inside.patch(path, {"name": "Ours"})):
        assert answer.status_code == 404
    # The id, the tenant and the secret of two of them mixed, and what only looks like one.
    for forged in (
        inside.key[:25] + foreign.key[25:47] + inside.key[47:],
        foreign.key[:47] + inside.key[47:],
        inside.key[:-1],
        f"{inside.key}x",
        f"sk_{inside.key[3:]}",
        f"bg_{tenant.key[3:]}",
        "bg_",
        f"bg_{'0' * 87}",
    ):
        for headers in ({"Authorization": f"Bearer {forged}"}, {"X-API-Key": forged}):
            assert (await http.get("/v1/projects", headers=headers)).status_code == 401
    key = {"X-API-Key": inside.key}
    assert (await http.get("/v1/projects", headers=key)).status_code == 401


@pytest.mark.parametrize("route", [r for r in ROUTES if r.plane == "platform"], ids=str)
async def test_access_opens_nothing_of_the_platform(route, looked_into):
    world, reader = looked_into

    refused = await reader(route.method, own_path(route, world))

    assert refused.status_code == 401


BAD_WISHES = [
    ({"reason": ""}, "/reason"),
    ({"reason": " \t "}, "/reason"),
    ({"reason": "x" * 1001}, "/reason"),
    ({"reason": "a\0b"}, "/reason"),
    ({"reason": None}, "/reason"),
    ({"expires_at": in_hours(-0.01)}, "/expires_at"),
    ({"expires_at": in_hours(24.1)}, "/expires_at"),
    ({"expires_at": "9999-12-31T23:59:59-23:59"}, "/expires_at"),
    ({"expires_at": "0001-01-01T00:00:00+23:59"}, "/expires_at"),
    ({"expires_at": "2027-01-31T09:00:00"}, "/expires_at"),
    ({"expires_at": 4102444800}, "/expires_at"),
    ({"write": "yes"}, "/write"),
    ({"write": None}, "/write"),
    ({"operator": "platform:somebody"}, "/operator"),
]


@pytest.mark.parametrize(("change", "pointer"), BAD_WISHES)
async def test_bad_wish_is_refused_with_its_pointer(tenant, operator, rows_of, change, pointer):
    at = f"/v1/admin/tenants/{tenant.tenant_id}/access"
    wish = {"reason": "Ticket 42", "expires_at": in_hours(23.9)}

    refused = await operator.post(at, wish | change)

    assert refused.status_code == 422, refused.text
    assert [fault["pointer"] for fault in refused.json()["errors"]] == [pointer]
    assert rows_of(tenant)["access_grants"] == 0
    assert (await operator.post(at, wish)).status_code == 201


async def test_accesses_are_listed_without_their_secrets(
    tenant, other_tenant, operator, enter, superuser
):
    at = f"/v1/admin/tenants/{tenant.tenant_id}/access"
    first, second = await enter(tenant), await enter(tenant, write=True, reason="Mend it.")
    await enter(other_tenant)

    listed = (await operator.get(f"{at}?sort=created_at")).json()["items"]
    found = (await operator.get(f"{at}?may_write=true")).json()["items"]

    assert [row["id"] for row in listed] == [c.body["access"]["id"] for c in (first, second)]
    assert (listed[1]["reason"], listed[1]["may_write"]) == ("Mend it.", True)
    assert {row["operator"] for row in listed} == {"platform:key"}
    assert found == listed[1:]
    assert "secret_hash" not in listed[0]
    everything = superuser.execute(
        "SELECT string_agg(to_jsonb(g)::text || coalesce(a.changes::text, ''), '') "
        "FROM access_grants g LEFT JOIN audit_log a USING (tenant_id) WHERE tenant_id = %s",
        [tenant.tenant_id],
    ).fetchone()[0]
    assert first.key[47:] not in everything


async def test_grant_of_another_tenant_cannot_be_revoked(tenant, other_tenant, operator, enter):
    inside = await enter(tenant)
    id = inside.body["access"]["id"]

    for wrong in (f"{other_tenant.tenant_id}/access/{id}", f"{tenant.tenant_id}/access/{uuid4()}"):
        refused = await operator.delete(f"/v1/admin/tenants/{wrong}")
        assert refused.status_code == 404

    assert (await inside.get("/v1/projects")).status_code == 200


async def test_answer_is_repeated_for_a_repeated_wish(tenant, operator, rows_of):
    at = f"/v1/admin/tenants/{tenant.tenant_id}/access"
    wish = {"reason": "Ticket 42", "expires_at": in_hours(1)}
    key = {"headers": {"Idempotency-Key": str(uuid4())}}

    first, again = await operator.post(at, wish, **key), await operator.post(at, wish, **key)

    assert (first.status_code, first.content) == (201, again.content)
    assert rows_of(tenant)["access_grants"] == 1
