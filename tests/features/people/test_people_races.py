"""Many at once: an owner remains, an invitation is taken once, a key has one secret."""

import asyncio
from collections import Counter

import msgspec

from saas.app import create_app


async def at_once(calls):
    answers = await asyncio.gather(*calls)
    return answers, Counter(answer.status_code for answer in answers)


async def owners_of(tenant):
    query = "/v1/members?role=owner&status=active&limit=100"
    return [row["id"] for row in (await tenant.get(query)).json()["items"]]


async def test_two_owners_who_demote_each_other_leave_one(tenant, join):
    for _ in range(5):
        first, second = await join(tenant, "owner"), await join(tenant, "owner")
        # Known to the node as owners, whatever the other one does meanwhile.
        await at_once(owner.get("/v1/me") for owner in (first, second))
        others = set(await owners_of(tenant)) - {first.owner_id, second.owner_id}
        for other in others:
            assert (await tenant.delete(f"/v1/members/{other}")).status_code == 204

        _, statuses = await at_once(
            one.patch(f"/v1/members/{other.owner_id}", {"role": "admin"})
            for one, other in ((first, second), (second, first))
        )

        assert statuses == {200: 1, 409: 1}
        assert len(await owners_of(tenant)) == 1


async def test_of_owners_who_all_go_at_once_one_stays(tenant, join):
    people = [await join(tenant, "owner") for _ in range(12)]
    ways = (("DELETE", None), ("PATCH", {"role": "viewer"}), ("PATCH", {"status": "suspended"}))

    answers, statuses = await at_once(
        [
            *(
                person(ways[n % 3][0], f"/v1/members/{person.owner_id}", json=ways[n % 3][1])
                for n, person in enumerate(people)
            ),
            tenant.delete(f"/v1/members/{tenant.owner_id}"),
        ]
    )

    assert statuses[409] == 1
    assert sum(answer.is_success for answer in answers) == 12
    assert len(await owners_of(tenant)) == 1


async def test_invitation_that_fifty_accept_makes_one_member(tenant, http):
    made = await tenant.post("/v1/invitations", {"email": "one@x.test", "role": "member"})
    token = made.json()["token"]

    answers, statuses = await at_once(
        http.post("/v1/invitations/accept", json={"token": token, "name": f"No. {n}"})
        for n in range(50)
    )

    assert statuses == {201: 1, 409: 49}
    assert {a.json()["code"] for a in answers if a.status_code == 409} == {"already_accepted"}
    members = (await tenant.get("/v1/members?email=one@x.test&deleted=include")).json()["items"]
    assert len(members) == 1
    (winner,) = (a.json() for a in answers if a.status_code == 201)
    assert winner["member"] == members[0]


async def test_many_who_accept_at_once_fill_the_quota_to_the_member(on_plan, http):
    tenant = await on_plan(members=4)
    tokens = []
    for number in range(12):
        wish = {"email": f"q{number}@x.test", "role": "member"}
        tokens.append((await tenant.post("/v1/invitations", wish)).json()["token"])

    _, statuses = await at_once(
        http.post("/v1/invitations/accept", json={"token": token, "name": "Q"}) for token in tokens
    )

    # The first owner is one of the four.
    assert statuses == {201: 3, 429: 9}
    assert len((await tenant.get("/v1/members")).json()["items"]) == 4


async def test_address_that_fifty_invite_has_one_invitation(tenant):
    _, statuses = await at_once(
        tenant.post("/v1/invitations", {"email": "Same@x.test", "role": "member"})
        for _ in range(50)
    )

    assert statuses == {201: 1, 409: 49}
    assert len((await tenant.get("/v1/invitations")).json()["items"]) == 1


async def test_person_who_takes_many_invitations_at_once_joins_once(tenant, other_tenant, join):
    person = await join(tenant, "member")
    tokens = []
    for number in range(8):
        wish = {"email": f"p{number}@x.test", "role": "viewer"}
        tokens.append((await other_tenant.post("/v1/invitations", wish)).json()["token"])

    _, statuses = await at_once(
        person.post("/v1/invitations/accept", {"token": token, "name": "P"}) for token in tokens
    )

    assert statuses == {201: 1, 409: 7}
    assert len((await person.get("/v1/me")).json()["tenants"]) == 2


async def test_accepting_and_revoking_at_once_do_one_of_the_two(tenant, http):
    for number in range(10):
        wish = {"email": f"r{number}@x.test", "role": "member"}
        made = (await tenant.post("/v1/invitations", wish)).json()
        body = {"token": made["token"], "name": "R"}

        (accepted, revoked), _ = await at_once(
            [
                http.post("/v1/invitations/accept", json=body),
                tenant.delete(f"/v1/invitations/{made['id']}"),
            ]
        )

        assert (accepted.status_code, revoked.status_code) in {(201, 409), (422, 204)}
        found = (await tenant.get(f"/v1/members?email={wish['email']}")).json()["items"]
        assert len(found) == (accepted.status_code == 201)


async def test_key_that_many_rotate_at_once_has_one_secret(tenant, new_key, uncached):
    key = await new_key(tenant)
    path = f"/v1/api-keys/{key.body['api_key']['id']}/rotate"

    answers, statuses = await at_once(tenant.post(path) for _ in range(20))

    assert statuses == {200: 20}
    secrets = [type(key)(key._http, answer.json()["key"], key.body) for answer in answers]
    _, good = await at_once(uncached(secret).get("/v1/me") for secret in [key, *secrets])
    assert good == {200: 1, 401: 20}


async def test_many_who_ask_where_they_are_members_wait_for_no_second_connection(
    tenant, other_tenant, join, settings, serve
):
    here = await join(tenant, "admin")
    await join(other_tenant, "viewer", credential=here.key)

    async with serve(create_app(msgspec.structs.replace(settings, pool_size=1))) as client:
        caller = type(here)(client, here.key, here.body)
        answers, statuses = await at_once(caller.get("/v1/me") for _ in range(50))

    assert statuses == {200: 50}
    assert {len(answer.json()["tenants"]) for answer in answers} == {2}
