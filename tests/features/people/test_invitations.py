"""Invitations: offered, listed, withdrawn, and accepted once."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from keyed import assert_replays, keyed
from refusals import assert_refused

from saas.auth.invitation_tokens import InvitationTokens, Offer
from saas.identity import invitation_tokens

ACCEPT = "/v1/invitations/accept"


@pytest.fixture
def accept(http):
    async def call(token, name="Bob", **headers):
        return await http.post(ACCEPT, json={"token": token, "name": name}, headers=headers)

    return call


async def invite(tenant, email="bob@x.test", role="member"):
    answer = await tenant.post("/v1/invitations", {"email": email, "role": role})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_invitation_shows_its_token_once(tenant):
    answer = await tenant.post("/v1/invitations", {"email": "Bob@X.Test", "role": "admin"})

    made = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/v1/invitations/{made['id']}"
    assert {"id", "email", "role", "expires_at", "token"} <= set(made)
    assert (made["email"], made["role"], made["accepted_at"]) == ("bob@x.test", "admin", None)
    lasts = datetime.fromisoformat(made["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=6, hours=23) < lasts <= timedelta(days=7)
    token = made.pop("token")
    assert (await tenant.get("/v1/invitations")).json()["items"] == [made]
    assert (await tenant.get(answer.headers["location"])).json() == made
    assert token not in (await tenant.get("/v1/audit")).text


async def test_accepting_makes_a_member_with_the_role_that_was_offered(tenant, accept, http):
    made = await invite(tenant, role="admin")

    answer = await accept(made["token"], name="Bob")

    body = answer.json()
    assert answer.status_code == 201
    assert set(body) == {"tenant", "member", "access_token"}
    assert answer.headers["location"] == f"/v1/members/{body['member']['id']}"
    assert body["tenant"] == tenant.body["tenant"]
    member = body["member"]
    assert (member["email"], member["name"], member["role"], member["status"]) == (
        *("bob@x.test", "Bob", "admin", "active"),
    )
    bearer = {"Authorization": f"Bearer {body['access_token']}"}
    assert (await http.get("/v1/me", headers=bearer)).json()["member"] == member
    assert (await tenant.get(f"/v1/members/{member['id']}")).json() == member
    used = (await tenant.get(f"/v1/invitations/{made['id']}")).json()
    assert used["accepted_at"] is not None


async def test_the_log_says_who_joined_and_from_where(tenant, accept):
    made = await invite(tenant)

    member = (await accept(made["token"], **{"X-Request-ID": "join-1"})).json()["member"]

    log = (await tenant.get("/v1/audit?request_id=join-1&sort=id")).json()["items"]
    assert {(entry["entity"], entry["action"]) for entry in log} == {
        ("invitations", "update"),
        ("members", "insert"),
    }
    assert {entry["actor"] for entry in log} == {f"member:{member['id']}"}
    assert {entry["ip"] for entry in log} == {"127.0.0.1"}


async def test_token_works_once(tenant, accept):
    token = (await invite(tenant))["token"]
    assert (await accept(token)).status_code == 201

    assert_refused(await accept(token), 409, "already_accepted")
    assert_refused(await accept(token, name="Mallory"), 409, "already_accepted")


async def test_revoked_invitation_is_none(tenant, accept):
    made = await invite(tenant)
    path = f"/v1/invitations/{made['id']}"

    stale = await tenant.delete(path, headers={"If-Match": '"7"'})
    revoked = await tenant.delete(path)

    assert_refused(stale, 412, "precondition_failed")
    assert revoked.status_code == 204
    assert_refused(await accept(made["token"]), 422, "invalid", {"/token": "no_invitation"})
    assert_refused(await tenant.delete(path), 404, "not_found")
    assert (await tenant.get("/v1/invitations")).json()["items"] == []
    # The address is free for the next one.
    assert (await accept((await invite(tenant))["token"])).status_code == 201


async def test_accepted_invitation_cannot_be_withdrawn(tenant, accept):
    made = await invite(tenant)
    assert (await accept(made["token"])).status_code == 201

    refused = await tenant.delete(f"/v1/invitations/{made['id']}")

    assert_refused(refused, 409, "already_accepted")


async def test_address_has_one_open_invitation_whatever_its_letters(tenant, other_tenant, accept):
    made = await invite(tenant, "Ada@X.test")

    for email in ("ada@x.test", "ADA@X.TEST"):
        refused = await tenant.post("/v1/invitations", {"email": email, "role": "viewer"})
        assert_refused(refused, 409, "already_exists", {"/email": "taken"})
    assert (await invite(other_tenant, "ada@x.test"))["email"] == "ada@x.test"
    assert (await accept(made["token"])).status_code == 201
    for email in ("ada@x.test", "ADA@X.TEST", f"OWNER@{tenant.body['tenant']['slug']}.test"):
        refused = await tenant.post("/v1/invitations", {"email": email, "role": "viewer"})
        assert_refused(refused, 409, "already_member")


async def test_expired_invitation_is_none_and_makes_room_for_another(tenant, accept, in_tenant):
    made = await invite(tenant)
    in_tenant(tenant, "UPDATE invitations SET expires_at = now() WHERE id = %s", made["id"])

    assert_refused(await accept(made["token"]), 422, "invalid", {"/token": "no_invitation"})
    again = await invite(tenant)

    assert_refused(await accept(made["token"]), 422, "invalid", {"/token": "no_invitation"})
    assert (await accept(again["token"])).status_code == 201
    listed = (await tenant.get("/v1/invitations")).json()["items"]
    assert [row["id"] for row in listed] == [again["id"]]


async def test_signed_end_holds_whatever_the_row_says(tenant, accept, settings, in_tenant):
    made = await invite(tenant)
    over = Offer(UUID(made["id"]), UUID(tenant.tenant_id), datetime.now(UTC) - timedelta(seconds=1))

    refused = await accept(invitation_tokens(settings).issue(over))

    assert_refused(refused, 422, "invalid", {"/token": "no_invitation"})
    assert (await accept(made["token"])).status_code == 201


async def test_forged_tokens_are_all_answered_alike(
    tenant, other_tenant, accept, settings, in_tenant
):
    made = await invite(tenant)
    theirs = await invite(other_tenant)
    token, end = made["token"], datetime.now(UTC) + timedelta(days=1)
    own = invitation_tokens(settings)
    ours, foreign = UUID(tenant.tenant_id), UUID(other_tenant.tenant_id)
    forged = [
        *("x", "inv_", "inv_" + "A" * 96, token[4:], token[:-1], token + "A", f" {token}"),
        *(
            token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
            for place in (4, 20, 30, 45, 60, 99)
        ),
        token.replace("inv_", "sk__"),
        # As another installation would sign it.
        InvitationTokens(b"another secret of 32 bytes and more").issue(
            Offer(UUID(made["id"]), ours, end)
        ),
        # As a tenant's admin would like it: the id of one tenant's invitation in another.
        own.issue(Offer(UUID(theirs["id"]), ours, end)),
        own.issue(Offer(UUID(made["id"]), foreign, end)),
        own.issue(Offer(uuid4(), ours, end)),
        own.issue(Offer(UUID(made["id"]), uuid4(), end)),
        # Credentials of other kinds.
        tenant.key,
        made["id"],
    ]

    answers = [await accept(text, **{"X-Request-ID": "forged"}) for text in forged]

    for answer in answers:
        assert_refused(answer, 422, "invalid", {"/token": "no_invitation"})
        assert answer.content == answers[0].content
    assert (await accept(token)).status_code == 201


async def test_suspended_tenant_takes_nobody_in(tenant, accept, set_status):
    made = await invite(tenant)

    set_status(tenant, "suspended")
    refused = await accept(made["token"])
    set_status(tenant, "active")

    assert_refused(refused, 403, "tenant_suspended")
    assert (await accept(made["token"])).status_code == 201


async def test_tenant_on_its_way_out_takes_nobody_in(tenant, accept, operator):
    made, path = await invite(tenant), f"/v1/admin/tenants/{tenant.tenant_id}"

    assert (await operator.delete(path)).status_code == 202
    refused = await accept(made["token"])
    assert (await operator.post(f"{path}/resume")).status_code == 200

    assert_refused(refused, 422, "invalid", {"/token": "no_invitation"})
    assert (await accept(made["token"])).status_code == 201


async def test_quota_of_members_leaves_the_invitation_good(on_plan, join, accept):
    tenant = await on_plan(members=2)
    second = await join(tenant, "member")
    made = await invite(tenant)

    assert_refused(await accept(made["token"]), 429, "quota_exceeded")
    assert (await tenant.delete(f"/v1/members/{second.owner_id}")).status_code == 204

    assert (await accept(made["token"])).status_code == 201


@pytest.mark.parametrize("change", [{"role": "member"}, {"status": "suspended"}, None])
async def test_invitation_of_who_may_invite_no_more_is_none(tenant, join, accept, change):
    admin = await join(tenant, "admin")
    made = await invite(admin, role="admin")
    path = f"/v1/members/{admin.owner_id}"

    done = await (tenant.delete(path) if change is None else tenant.patch(path, change))

    assert done.is_success
    assert_refused(await accept(made["token"]), 422, "invalid", {"/token": "no_invitation"})


async def test_invitation_of_a_key_outlives_the_key_but_not_its_person(
    tenant, join, accept, new_key
):
    admin = await join(tenant, "admin")
    of_operator, of_admin = await new_key(tenant), await new_key(admin)
    kept, lost = await invite(of_operator, "kept@k.test"), await invite(of_admin, "lost@k.test")
    assert (kept["member_id"], lost["member_id"]) == (None, admin.owner_id)

    # Whoever takes the key over answers for nothing that was done with it before.
    await tenant.post(f"/v1/api-keys/{of_admin.body['api_key']['id']}/rotate")
    for key in (of_operator, of_admin):
        revoked = await tenant.delete(f"/v1/api-keys/{key.body['api_key']['id']}")
        assert revoked.status_code == 204
    assert (await tenant.delete(f"/v1/members/{admin.owner_id}")).status_code == 204

    assert (await accept(kept["token"])).status_code == 201
    assert_refused(await accept(lost["token"]), 422, "invalid", {"/token": "no_invitation"})


async def test_repeat_with_the_same_key_tells_the_token_again(tenant, in_tenant):
    key, wish = keyed(), {"email": "bob@x.test", "role": "member"}

    first = await tenant.post("/v1/invitations", wish, **key)
    again = await tenant.post("/v1/invitations", wish, **key)

    assert first.status_code == 201
    assert_replays(again, first)
    stored = in_tenant(tenant, "SELECT answer FROM idempotency_keys")
    assert stored
    assert all(first.json()["token"].encode() not in bytes(row[0]) for row in stored)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/invitations", {"email": "nobody", "role": "member"}),
        ("/v1/invitations", {"email": "a@b.test", "role": "emperor"}),
        ("/v1/invitations", {"email": "a@b.test"}),
        ("/v1/invitations", {"role": "member"}),
        ("/v1/invitations", {"email": "a@b.test", "role": "member", "tenant_id": "x"}),
        (ACCEPT, {"token": "inv_", "name": "A", "role": "owner"}),
        (ACCEPT, {"token": "", "name": "A"}),
        (ACCEPT, {"token": "inv_", "name": " "}),
        (ACCEPT, {"name": "A"}),
    ],
)
async def test_body_that_is_none_is_refused(tenant, path, body):
    assert_refused(await tenant.post(path, body), 422, "invalid")
    assert (await tenant.get("/v1/invitations")).json()["items"] == []
