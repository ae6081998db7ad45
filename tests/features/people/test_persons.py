"""One person in several tenants: `/v1/me` lists them, `X-Tenant-ID` selects one. Who is one person
is proved with a credential; an equal address proves nothing."""

import asyncio
from uuid import uuid4

import jwt
import pytest
from refusals import assert_refused


def within(tenant):
    return {"headers": {"X-Tenant-ID": tenant.tenant_id}}


@pytest.fixture
async def traveller(tenant, other_tenant, join):
    """An admin of one tenant who has joined the other as a viewer; the token is of the first."""
    here = await join(tenant, "admin")
    there = await join(other_tenant, "viewer", credential=here.key)
    return here, there


async def tenants_of(caller, **options):
    me = await caller.get("/v1/me", **options)
    assert me.status_code == 200, me.text
    return {(t["tenant"]["id"], t["role"], t["member_id"]) for t in me.json()["tenants"]}


async def test_me_of_a_member(tenant, join):
    person = await join(tenant, "viewer")

    me = (await person.get("/v1/me")).json()

    name = {key: tenant.body["tenant"][key] for key in ("id", "slug", "name")}
    assert me["actor"] == f"member:{person.owner_id}"
    assert (me["tenant"], me["role"]) == (name, "viewer")
    assert me["permissions"] == sorted(me["permissions"])
    assert "projects:read" in me["permissions"]
    assert "projects:write" not in me["permissions"]
    assert me["member"] == (await tenant.get(f"/v1/members/{person.owner_id}")).json()
    assert me["tenants"] == [{"tenant": name, "role": "viewer", "member_id": person.owner_id}]


async def test_me_of_a_key_is_no_person(tenant, new_key):
    key = await new_key(tenant, permissions=["tasks:read"])

    me = (await key.get("/v1/me")).json()

    assert me["actor"] == f"key:{key.body['api_key']['id']}"
    assert (me["role"], me["permissions"]) == ("owner", ["tasks:read"])
    assert (me["member"], me["tenants"]) == (None, [])


async def test_me_of_an_operator_says_who_is_inside(tenant, break_glass):
    me = (await (await break_glass(tenant)).get("/v1/me")).json()

    assert (me["actor"], me["tenant"]["id"]) == ("platform:key", tenant.tenant_id)
    assert (me["role"], me["member"], me["tenants"]) == (None, None, [])
    assert {permission.partition(":")[2] for permission in me["permissions"]} == {"read"}


async def test_me_shows_what_a_narrowed_token_may_do(tenant, join, narrowed):
    person = await join(tenant, "admin")

    me = (await narrowed(person, permissions=["tasks:read"]).get("/v1/me")).json()

    assert (me["role"], me["permissions"]) == ("admin", ["tasks:read"])


async def test_who_is_gone_is_not_told_who_he_is_though_a_node_remembers_him(tenant, join, new_key):
    person = await join(tenant, "admin")
    key = await new_key(tenant)
    for caller, path in (
        (person, f"/v1/members/{person.owner_id}"),
        (key, f"/v1/api-keys/{key.body['api_key']['id']}"),
    ):
        assert (await caller.get("/v1/me")).status_code == 200
        assert (await tenant.delete(path)).status_code == 204
        assert (await caller.get("/v1/projects")).status_code == 200, "remembered"
        assert_refused(await caller.get("/v1/me"), 401, "unauthenticated")


async def test_person_lists_the_tenants_from_each_of_them(tenant, other_tenant, traveller):
    here, there = traveller
    both = {
        (tenant.tenant_id, "admin", here.owner_id),
        (other_tenant.tenant_id, "viewer", there.owner_id),
    }

    assert await tenants_of(here) == both
    assert await tenants_of(there) == both
    assert await tenants_of(here, **within(other_tenant)) == both


async def test_header_selects_the_tenant_with_the_role_that_one_has_there(
    tenant, other_tenant, traveller
):
    here, there = traveller
    theirs = await other_tenant.create("projects", name="Theirs")
    ours = await tenant.create("projects", name="Ours")

    for name in (other_tenant.tenant_id, other_tenant.body["tenant"]["slug"]):
        selected = {"headers": {"X-Tenant-ID": name}}
        me = (await here.get("/v1/me", **selected)).json()
        assert (me["actor"], me["role"]) == (f"member:{there.owner_id}", "viewer")
        assert (await here.get("/v1/projects", **selected)).json()["items"] == [theirs]
        refused = await here.post("/v1/projects", {"name": "Mine"}, **selected)
        assert_refused(refused, 403, "permission_denied")
        absent = await here.get(f"/v1/projects/{ours['id']}", **selected)
        assert_refused(absent, 404, "not_found")
    assert (await here.get("/v1/projects")).json()["items"] == [ours]
    assert (await here.get("/v1/projects", **within(tenant))).json()["items"] == [ours]


async def test_narrowed_token_is_as_narrow_elsewhere(other_tenant, traveller, narrowed):
    here, _ = traveller

    for claims in ({"permissions": ["tasks:read", "members:write"]}, {"role": "nobody"}):
        token = narrowed(here, **claims)
        refused = await token.get("/v1/projects", **within(other_tenant))
        assert_refused(refused, 403, "permission_denied")
    tasks = narrowed(here, permissions=["tasks:read"])
    assert (await tasks.get("/v1/tasks", **within(other_tenant))).status_code == 200


async def test_equal_address_opens_nothing(tenant, other_tenant, join, http):
    email = "ada@persons.test"
    victim = await join(other_tenant, "owner", email=email)
    attacker = await join(tenant, "owner", email=email)
    unknown = await attacker.get("/v1/projects", headers={"X-Tenant-ID": str(uuid4())})

    assert await tenants_of(attacker) == {(tenant.tenant_id, "owner", attacker.owner_id)}
    for name in (other_tenant.tenant_id, other_tenant.body["tenant"]["slug"]):
        refused = await attacker.get("/v1/projects", headers={"X-Tenant-ID": name})
        assert_refused(refused, 404, "not_found")
        assert refused.status_code == unknown.status_code
    assert (await victim.get("/v1/projects")).status_code == 200


async def test_only_the_one_name_of_a_tenant_of_ones_own_selects(other_tenant, traveller, http):
    here, _ = traveller
    id, slug = other_tenant.tenant_id, other_tenant.body["tenant"]["slug"]
    probe = [("Authorization", f"Bearer {here.key}"), ("X-Request-ID", "probe")]
    unknown = await http.get("/v1/me", headers=[*probe, ("X-Tenant-ID", str(uuid4()))])

    assert_refused(unknown, 404, "not_found")
    for selected in (
        *([id.upper()], [id.replace("-", "")], [f"{{{id}}}"], [f"urn:uuid:{id}"], [slug.upper()]),
        *([f" {id}x"], [""], ["%"], [id, id], [slug, id], [f"{id},{id}"], [f"{slug}\x7f"]),
    ):
        headers = [*probe, *(("X-Tenant-ID", name) for name in selected)]
        refused = await http.get("/v1/me", headers=headers)
        assert (refused.status_code, refused.content) == (404, unknown.content)
    good = await http.get("/v1/me", headers=[*probe, ("X-Tenant-ID", id)])
    assert good.status_code == 200


async def test_key_selects_no_tenant_but_its_own(tenant, other_tenant, traveller, new_key):
    here, _ = traveller
    key = await new_key(here)

    assert (await key.get("/v1/me", **within(tenant))).status_code == 200
    assert_refused(await key.get("/v1/me", **within(other_tenant)), 404, "not_found")


@pytest.mark.parametrize("change", [{"status": "suspended"}, None])
async def test_who_is_out_of_one_tenant_is_out_of_it_alone(
    tenant, other_tenant, traveller, uncached, change
):
    here, there = (uncached(caller) for caller in traveller)
    path = f"/v1/members/{there.owner_id}"
    assert (await here.get("/v1/projects", **within(other_tenant))).status_code == 200

    done = await (other_tenant.delete(path) if change is None else other_tenant.patch(path, change))

    assert done.is_success
    refused = await here.get("/v1/projects", **within(other_tenant))
    assert_refused(refused, 404, "not_found")
    assert (await there.get("/v1/projects")).status_code == 401
    assert await tenants_of(here) == {(tenant.tenant_id, "admin", here.owner_id)}


@pytest.mark.parametrize("whose", ["members/{}", "tenant"])
async def test_end_of_all_tokens_there_is_the_end_of_those_from_elsewhere(
    other_tenant, traveller, uncached, whose
):
    here, there = (uncached(caller) for caller in traveller)
    assert (await here.get("/v1/projects", **within(other_tenant))).status_code == 200

    path = f"/v1/{whose}/revoke-tokens".format(there.owner_id)
    assert (await other_tenant.post(path)).status_code == 200

    refused = await here.get("/v1/projects", **within(other_tenant))
    assert_refused(refused, 404, "not_found")
    assert (await here.get("/v1/projects")).status_code == 200


async def test_who_is_out_of_the_home_enters_nothing_with_its_token(
    tenant, other_tenant, traveller, uncached
):
    here, there = (uncached(caller) for caller in traveller)

    assert (await tenant.delete(f"/v1/members/{here.owner_id}")).status_code == 204

    assert_refused(await here.get("/v1/me", **within(other_tenant)), 401, "unauthenticated")
    assert await tenants_of(there) == {(other_tenant.tenant_id, "viewer", there.owner_id)}


async def test_suspended_tenant_is_not_listed_and_says_so_to_its_member(
    tenant, other_tenant, traveller, uncached, set_status
):
    here = uncached(traveller[0])

    set_status(other_tenant, "suspended")
    listed = await tenants_of(here)
    refused = await here.get("/v1/me", **within(other_tenant))
    set_status(other_tenant, "active")

    assert listed == {(tenant.tenant_id, "admin", here.owner_id)}
    assert_refused(refused, 403, "tenant_suspended")
    assert (await here.get("/v1/me", **within(other_tenant))).status_code == 200


async def test_person_is_a_member_of_a_tenant_once(tenant, other_tenant, traveller, http):
    here, _ = traveller

    for inviter, email in ((tenant, "second@x.test"), (other_tenant, "third@x.test")):
        made = await inviter.post("/v1/invitations", {"email": email, "role": "owner"})
        body = {"token": made.json()["token"], "name": "Again"}
        refused = await here.post("/v1/invitations/accept", body)
        assert_refused(refused, 409, "already_member")
        # It is not used up: whoever it is for may still come.
        assert (await http.post("/v1/invitations/accept", json=body)).status_code == 201


async def test_person_may_come_back(other_tenant, traveller, join, uncached):
    here, there = traveller
    assert (await other_tenant.delete(f"/v1/members/{there.owner_id}")).status_code == 204

    again = await join(other_tenant, "admin", credential=here.key)

    assert again.owner_id != there.owner_id
    me = await uncached(here).get("/v1/me", **within(other_tenant))
    assert (me.json()["actor"], me.json()["role"]) == (f"member:{again.owner_id}", "admin")


@pytest.fixture
async def offer(other_tenant, new_email):
    """The body that accepts an invitation to the other tenant."""
    made = await other_tenant.post("/v1/invitations", {"email": new_email(), "role": "owner"})
    return {"token": made.json()["token"], "name": "Somebody"}


async def test_credential_that_is_no_persons_does_not_join(
    tenant, other_tenant, join, new_key, narrowed, break_glass, offer
):
    person = await join(tenant, "admin")
    narrow = narrowed(person, permissions=["tasks:read"])
    operators = [await break_glass(one, write=True) for one in (tenant, other_tenant)]
    keys = (tenant, await new_key(person))

    for caller in (*keys, *operators, narrow, narrowed(person, role="viewer")):
        refused = await caller.post("/v1/invitations/accept", offer)
        assert_refused(refused, 403, "no_member_credential")
    assert (await person.post("/v1/invitations/accept", offer)).status_code == 201


async def test_token_that_is_narrow_elsewhere_alone_does_not_join(
    tenant, other_tenant, join, narrowed, offer
):
    """What comes of it would be whole, and open the tenant in which the person is an owner."""
    viewer = await join(tenant, "viewer")
    await join(other_tenant, "owner", credential=viewer.key)
    narrow = narrowed(viewer, role="viewer")
    permissions = (await viewer.get("/v1/me")).json()["permissions"]
    assert (await narrow.get("/v1/me")).json()["permissions"] == permissions

    for caller in (narrow, narrowed(viewer, permissions=permissions)):
        refused = await caller.post("/v1/invitations/accept", offer)
        assert_refused(refused, 403, "no_member_credential")
    whole = await narrowed(viewer, role="owner").post("/v1/invitations/accept", offer)
    assert_refused(whole, 409, "already_member")


async def test_bad_credential_beside_a_good_invitation_is_refused(tenant, http, operator, offer):
    tried = [
        {"Authorization": "Bearer x"},
        {"Authorization": f"Bearer {operator.key}"},
        {"Authorization": f"Bearer {offer['token']}"},
        {"Authorization": "Basic x"},
        {"X-API-Key": "x"},
        {"Authorization": f"Bearer {tenant.key}", "X-API-Key": tenant.key},
    ]

    for headers in tried:
        refused = await http.post("/v1/invitations/accept", json=offer, headers=headers)
        assert_refused(refused, 401, "unauthenticated")
    assert (await http.post("/v1/invitations/accept", json=offer)).status_code == 201


@pytest.mark.parametrize("change", [{"status": "suspended"}, None])
async def test_who_was_a_member_takes_nobody_along_though_a_node_remembers_him(
    tenant, join, offer, change
):
    person = await join(tenant, "admin")
    path = f"/v1/members/{person.owner_id}"
    assert (await person.get("/v1/me")).status_code == 200

    done = await (tenant.delete(path) if change is None else tenant.patch(path, change))

    assert done.is_success

    assert (await person.get("/v1/projects")).status_code == 200, "remembered for some seconds"
    refused = await person.post("/v1/invitations/accept", offer)
    assert_refused(refused, 401, "unauthenticated")


async def test_joining_makes_no_credential_live_longer(tenant, join, settings, narrowed, offer):
    person = narrowed(await join(tenant, "admin"), ttl_seconds=30)

    joined = await person.post("/v1/invitations/accept", offer)

    ends = [
        jwt.decode(token, options={"verify_signature": False})["exp"]
        for token in (person.key, joined.json()["access_token"])
    ]
    assert ends[1] <= ends[0]


async def test_expired_credential_joins_nobody_within_the_leeway(tenant, join, narrowed, offer):
    person = narrowed(await join(tenant, "admin"), ttl_seconds=1)
    await asyncio.sleep(1.1)

    assert (await person.get("/v1/projects")).status_code == 200, "clocks may differ a little"
    assert_refused(await person.post("/v1/invitations/accept", offer), 401, "unauthenticated")
