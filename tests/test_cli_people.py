"""`saas key` and `saas member`, as an operator types them, on the suite's database."""

import json
from typing import Any

import httpx

from command_line import Saas
from test_cli import bearer


def of(tenant: Any) -> tuple[str, str]:
    return "--tenant", tenant.body["tenant"]["slug"]


async def status(http: httpx.AsyncClient, key: str) -> int:
    return (await http.get("/v1/projects", headers=bearer(key))).status_code


async def test_key_is_made_shown_once_rotated_and_revoked(
    saas: Saas, tenant: Any, http: httpx.AsyncClient
) -> None:
    said = (await saas("key", "create", "CI", *of(tenant))).answer.splitlines()
    id = said[0].split()[1].rstrip(",")
    assert said[0] == f"Key {id}, shown this once:"
    assert await status(http, said[1]) == 200
    path = f"/v1/api-keys/{id}"
    made = (await tenant.get(path)).json()
    assert (made["name"], made["role"], made["permissions"]) == ("CI", "owner", None)
    assert (made["created_by"], made["member_id"]) == ("platform:cli", None)

    rotated = json.loads((await saas("key", "rotate", id, *of(tenant), "--json")).answer)
    assert rotated["key"] != said[1]
    assert await status(http, rotated["key"]) == 200

    other = json.loads((await saas("key", "create", "Other", *of(tenant), "--json")).answer)["id"]
    assert (await saas("key", "revoke", id, *of(tenant))).answer == ""
    ended = (await saas("key", "revoke", other, *of(tenant), "--json")).json
    assert ended == {"id": other}
    for gone in (path, f"/v1/api-keys/{other}"):
        assert (await tenant.get(gone)).status_code == 404
    log = (await tenant.get(f"/v1/audit?entity=api_keys&entity_id={id}")).json()["items"]
    assert {entry["actor"] for entry in log} == {"platform:cli"}
    assert rotated["key"][-43:] not in json.dumps(log)


async def test_key_may_be_narrow_and_expire(saas: Saas, tenant: Any) -> None:
    wish = ("--permission", "tasks:read", "--permission", "projects:read")
    end = ("--expires-at", "2099-01-01T00:00:00Z")

    made = json.loads((await saas("key", "create", "K", *of(tenant), *wish, *end, "--json")).answer)

    assert made["permissions"] == ["projects:read", "tasks:read"]
    assert made["expires_at"] == "2099-01-01T00:00:00Z"
    lines = (await saas("key", "list", *of(tenant), "--json")).answer.splitlines()
    listed = {row["id"]: row for row in map(json.loads, lines)}
    del made["key"]
    assert listed[made["id"]] == made
    assert len(listed) == 2
    table = (await saas("key", "list", *of(tenant))).answer
    assert "projects:read tasks:read" in table
    assert "2099-01-01" in table


async def test_invitations_are_listed_and_withdrawn(
    saas: Saas, tenant: Any, http: httpx.AsyncClient
) -> None:
    invite = ("member", "invite", "eve@cli.test", *of(tenant), "--json")
    made = (await saas(*invite)).json
    token = made.pop("token")

    (listed,) = (await saas("member", "invitations", *of(tenant), "--json")).answer.splitlines()
    table = (await saas("member", "invitations", *of(tenant))).answer
    ended = await saas("member", "uninvite", made["id"], *of(tenant), "--json")

    assert json.loads(listed) == made
    for shown in (made["id"], "eve@cli.test", "member", made["expires_at"][:10]):
        assert shown in table
    assert ended.json == {"id": made["id"]}
    body = {"token": token, "name": "Eve"}
    assert (await http.post("/v1/invitations/accept", json=body)).status_code == 422
    assert (await saas("member", "invitations", *of(tenant), "--json")).answer == ""
    again = await saas("member", "uninvite", made["id"], *of(tenant))
    assert again.refusal == f"There is no invitation {made['id']}."
    assert "uuid" in (await saas("member", "uninvite", "eve", *of(tenant))).refusal.lower()


async def test_member_is_invited_promoted_and_removed(
    saas: Saas, tenant: Any, http: httpx.AsyncClient
) -> None:
    invite = ("member", "invite", "Ada@Cli.test", "--role", "viewer", *of(tenant))
    token = (await saas(*invite)).answer.splitlines()[1]
    body = {"token": token, "name": "Ada [A]\x1b[2J"}
    ada = (await http.post("/v1/invitations/accept", json=body)).json()["member"]
    assert (ada["email"], ada["role"]) == ("ada@cli.test", "viewer")

    promoted = await saas("member", "set-role", "ADA@cli.test", "owner", *of(tenant))
    assert promoted.answer == "ada@cli.test is owner."
    lines = (await saas("member", "list", *of(tenant), "--json")).answer.splitlines()
    assert [row["role"] for row in map(json.loads, lines)] == ["owner", "owner"]
    table = (await saas("member", "list", *of(tenant))).answer
    assert "Ada [A]\ufffd[2J" in table
    assert ada["id"] in table

    removed = await saas("member", "remove", tenant.owner_id, *of(tenant), "--json")
    assert removed.json == {"id": tenant.owner_id}
    last = await saas("member", "remove", "ada@cli.test", *of(tenant))
    assert "last active owner" in last.refusal
    log = (await tenant.get("/v1/audit?entity=members&actor=platform:cli")).json()["items"]
    assert [entry["action"] for entry in log] == ["soft_delete", "update"]


async def test_what_cannot_be_done_is_refused_in_a_line(
    saas: Saas, tenant: Any, other_tenant: Any, operator: Any
) -> None:
    foreign, stranger = other_tenant.body["api_key"]["id"], other_tenant.owner_id

    for words, why in (
        (
            ("key", "create", "K", "--permission", "fly"),
            "there is no permission 'fly': give api_keys",
        ),
        (("key", "create", " "), "name: Not only blanks."),
        (("key", "create", "K", "--expires-at", "tomorrow"), "--expires-at: "),
        (("key", "create", "K", "--expires-at", "2020-01-01T00:00:00Z"), "over already"),
        (("key", "rotate", "x"), "x: "),
        (("key", "rotate", foreign), f"There is no API key {foreign}."),
        (("key", "revoke", foreign), f"There is no API key {foreign}."),
        (("member", "invite", "nobody"), "nobody: An email address: "),
        (("member", "invite", tenant.body["owner"]["email"]), "member of the tenant already"),
        (("member", "set-role", stranger, "viewer"), f"There is no member {stranger}."),
        (("member", "remove", "nobody@x.test"), "There is no member nobody@x.test."),
        (("member", "set-role", tenant.owner_id, "admin"), "last active owner"),
    ):
        assert why in (await saas(*words, *of(tenant))).refusal
    unknown = await saas("member", "list", "--tenant", "nobody")
    assert unknown.refusal == "There is no tenant nobody."
    assert (await operator.delete(f"/v1/admin/tenants/{other_tenant.tenant_id}")).status_code == 202
    for words in (("key", "create", "K"), ("member", "list")):
        assert "is deleted" in (await saas(*words, *of(other_tenant))).refusal
    assert len((await tenant.get("/v1/api-keys")).json()["items"]) == 1
