"""Nobody gives himself or others more than he has: every pair of roles, narrowed keys, and the
seconds in which a node still remembers what somebody was."""

import itertools

import pytest
from refusals import assert_refused

RANK = {"viewer": 0, "member": 1, "admin": 2, "owner": 3}
MANAGERS = ("admin", "owner")


def member_path(member):
    return f"/v1/members/{member.owner_id}"


def key_path(key):
    return f"/v1/api-keys/{key.body['api_key']['id']}"


def may_change(actor, before, after):
    """The rule in words: admins manage everybody but owners, owners everybody."""
    return actor in MANAGERS and max(RANK[before], RANK[after]) <= RANK[actor]


async def test_role_is_given_only_up_to_ones_own_and_owners_are_managed_by_owners(tenant, join):
    actors = {role: await join(tenant, role) for role in RANK}
    target = await join(tenant, "viewer")

    for actor, before, after in itertools.product(RANK, RANK, RANK):
        assert (await tenant.patch(member_path(target), {"role": before})).status_code == 200
        answer = await actors[actor].patch(member_path(target), {"role": after})
        case = (actor, before, after)
        assert answer.status_code == (200 if may_change(*case) else 403), case
        now = (await tenant.get(member_path(target))).json()["role"]
        assert now == (after if may_change(*case) else before), case


async def test_owner_is_not_renamed_suspended_or_removed_by_an_admin(tenant, join):
    admin, owner = await join(tenant, "admin"), await join(tenant, "owner")
    path = member_path(owner)

    for method, body in (
        ("PATCH", {"name": "X"}),
        ("PATCH", {"status": "suspended"}),
        ("PATCH", {}),
        ("DELETE", None),
    ):
        assert_refused(await admin(method, path, json=body), 403, "permission_denied")
    assert (await tenant.get(path)).json()["version"] == 1
    assert (await admin.delete(member_path(await join(tenant, "admin")))).status_code == 204


async def test_nobody_raises_himself(tenant, join):
    for role in ("viewer", "member", "admin"):
        person = await join(tenant, role)
        for higher in (name for name in RANK if RANK[name] > RANK[role]):
            refused = await person.patch(member_path(person), {"role": higher})
            assert_refused(refused, 403, "permission_denied")
    admin = await join(tenant, "admin")
    assert (await admin.patch(member_path(admin), {"role": "viewer"})).status_code == 200


async def test_invitation_gives_only_what_the_inviter_has(tenant, join, new_email):
    for actor, role in itertools.product(RANK, RANK):
        person = await join(tenant, actor)
        answer = await person.post("/v1/invitations", {"email": new_email(), "role": role})
        allowed = actor in MANAGERS and RANK[role] <= RANK[actor]
        assert answer.status_code == (201 if allowed else 403), (actor, role)


async def test_invitation_of_an_owner_is_withdrawn_by_owners_alone(tenant, join, new_email):
    wish = {"email": new_email(), "role": "owner"}
    path = (await tenant.post("/v1/invitations", wish)).headers["location"]
    admin, owner = await join(tenant, "admin"), await join(tenant, "owner")

    assert_refused(await admin.delete(path), 403, "permission_denied")
    assert (await owner.delete(path)).status_code == 204


async def test_key_never_has_more_than_its_maker(tenant, join, new_key):
    everything = (await tenant.get("/v1/me")).json()["permissions"]
    admin = await join(tenant, "admin")
    makers = [
        admin,
        await new_key(admin),
        await new_key(tenant, permissions=["api_keys:write", "projects:read"]),
    ]

    for maker in makers:
        held = set((await maker.get("/v1/me")).json()["permissions"])
        for permission in everything:
            wish = {"name": "K", "permissions": ["projects:read", permission]}
            answer = await maker.post("/v1/api-keys", wish)
            if permission in held:
                assert answer.status_code == 201
            else:
                problem = assert_refused(answer, 403, "permission_denied")
                assert problem["permission"] == permission
        child = await new_key(maker)
        assert set((await child.get("/v1/me")).json()["permissions"]) == held


async def test_key_of_a_stronger_one_is_not_learned_by_rotating_it(tenant, join, new_key):
    admin = await join(tenant, "admin")
    narrow = await new_key(admin, permissions=["api_keys:write"])
    of_admin = await new_key(admin)

    for caller, key in ((admin, tenant), (narrow, tenant), (narrow, of_admin)):
        refused = await caller.post(f"{key_path(key)}/rotate", {"overlap_seconds": 60})
        assert_refused(refused, 403, "permission_denied")
        assert (await tenant.get(key_path(key))).json()["version"] == 1
    assert (await admin.post(f"{key_path(of_admin)}/rotate")).status_code == 200


async def test_narrow_key_gives_no_more_than_it_has(tenant, join, new_key, new_email):
    key = await new_key(tenant, permissions=["members:read", "members:write"])
    viewer, admin = await join(tenant, "viewer"), await join(tenant, "admin")
    away = await join(tenant, "viewer")
    await tenant.patch(member_path(away), {"status": "suspended"})

    for role in RANK:
        refused = await key.post("/v1/invitations", {"email": new_email(), "role": role})
        assert_refused(refused, 403, "permission_denied")
    for path, body in (
        (member_path(viewer), {"role": "member"}),
        (member_path(away), {"status": "active"}),
        (f"/v1/members/{tenant.owner_id}", {"name": "X"}),
    ):
        assert_refused(await key.patch(path, body), 403, "permission_denied")
    assert_refused(await key.delete(f"/v1/members/{tenant.owner_id}"), 403, "permission_denied")
    # What takes away, it may.
    assert (await key.patch(member_path(admin), {"role": "viewer"})).status_code == 200
    assert (await key.patch(member_path(admin), {"status": "suspended"})).status_code == 200
    assert (await key.delete(member_path(viewer))).status_code == 204


@pytest.mark.parametrize("change", [{"role": "viewer"}, {"status": "suspended"}, None])
async def test_who_was_demoted_a_second_ago_does_not_use_that_second(
    tenant, join, new_key, new_email, change
):
    admin, friend = await join(tenant, "admin"), await join(tenant, "viewer")
    key, other = await new_key(admin), await new_key(admin)
    for caller in (admin, key):
        assert (await caller.get("/v1/me")).status_code == 200
    path = member_path(admin)

    done = await (tenant.delete(path) if change is None else tenant.patch(path, change))

    assert done.is_success
    assert (await admin.get("/v1/audit")).status_code == 200, "remembered for some seconds"
    for caller in (admin, key):
        for method, target, body in (
            ("PATCH", path, {"role": "admin"}),
            ("PATCH", path, {"status": "active"}),
            ("PATCH", member_path(friend), {"role": "admin"}),
            ("DELETE", member_path(friend), None),
            ("POST", "/v1/invitations", {"email": new_email(), "role": "admin"}),
            ("POST", "/v1/invitations", {"email": new_email(), "role": "viewer"}),
            ("POST", "/v1/api-keys", {"name": "K"}),
            ("POST", f"{key_path(other)}/rotate", None),
            ("DELETE", key_path(other), None),
        ):
            refused = await caller(method, target, json=body)
            # Gone himself, he is a member that is not there.
            assert refused.status_code in ({401, 404} if change is None else {401, 403}), target
    assert (await tenant.get(member_path(friend))).json()["version"] == 1


async def test_revoked_key_makes_none_in_its_last_seconds(tenant, new_key):
    key = await new_key(tenant)
    assert (await key.get("/v1/me")).status_code == 200

    assert (await tenant.delete(key_path(key))).status_code == 204

    assert (await key.get("/v1/projects")).status_code == 200, "remembered for some seconds"
    assert_refused(await key.post("/v1/api-keys", {"name": "K"}), 401, "unauthenticated")
    assert_refused(await key.post(f"{key_path(tenant)}/rotate"), 401, "unauthenticated")


async def test_no_token_is_taken_for_one_of_another_kind(tenant, join, http):
    person = await join(tenant, "owner")
    made = await tenant.post("/v1/invitations", {"email": "kind@x.test", "role": "owner"})
    invitation = made.json()["token"]

    for headers in ({"Authorization": f"Bearer {invitation}"}, {"X-API-Key": invitation}):
        assert_refused(await http.get("/v1/me", headers=headers), 401, "unauthenticated")
    for text in (person.key, tenant.key):
        body = {"token": text, "name": "X"}
        refused = await http.post("/v1/invitations/accept", json=body)
        assert refused.status_code == 422
