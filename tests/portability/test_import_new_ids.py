"""A copy of a tenant under new ids, beside the first one."""

import json
import re
from typing import Any
from uuid import UUID

import httpx
import pytest
from archives import manifest_of, rows_of

from saas.auth.signing_key import signing_key_from
from saas.auth.tokens import TokenIssuer
from saas.portability.new_ids import NewIds

ID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
LEFT_OUT = {"api_keys", "api_key_uses", "invitations"}


@pytest.fixture
async def copied(lived_in: Any, export: Any, bring: Any, http: httpx.AsyncClient) -> Any:
    """The archive, the answer, and the old id of each new one as it must be."""
    archive = await export(lived_in.tenant_id)
    slug = f"copy-{lived_in.body['tenant']['slug']}"
    answer = await bring(http, archive, ids="new", slug=slug)
    assert answer.status_code == 201, answer.text
    return archive, answer.json()


async def test_copy_has_all_rows_and_no_id_of_the_first(
    lived_in: Any, copied: Any, here: Any
) -> None:
    archive, body = copied
    before, rows = here.of(lived_in.tenant_id), here.of(body["tenant"]["id"])

    old = {json.loads(row)["id"] for found in before.values() for row in found}
    assert body["tenant"]["id"] != lived_in.tenant_id
    for entry in manifest_of(archive)["tables"]:
        name, count = entry["name"], entry["rows"]
        done = {"rows": count, "inserted": count, "updated": 0, "skipped": 0}
        if name in LEFT_OUT:
            done |= {"inserted": 0, "skipped": count}
        assert body["tables"][name] == done
        found = [row for row in rows[name] if '"import"' not in row]
        assert len(found) == done["inserted"]
        for row in found:
            assert not {lived_in.tenant_id, *old} & set(ID.findall(row)), row
    assert body["verified"]


async def test_every_mention_of_a_row_changes_alike(lived_in: Any, copied: Any, here: Any) -> None:
    """Told by the values that stay: each new row is the old one with its ids exchanged."""
    archive, body = copied
    ids = NewIds(UUID(lived_in.tenant_id), UUID(body["tenant"]["id"]))

    rows = here.of(body["tenant"]["id"])

    for name in ("members", "projects", "tasks", "audit_log"):
        expected = {
            json.dumps(json.loads(ID.sub(lambda found: ids.id(found[0]), json.dumps(row))))
            for row in rows_of(archive, name)
        }
        found = [json.loads(row) for row in rows[name]]
        for row in found:
            assert row.pop("tenant_id") == body["tenant"]["id"]
        as_exported = {
            json.dumps({column: row[column] for column in rows_of(archive, name)[0]})
            for row in found
            if row.get("action") != "import"
        }
        assert as_exported == expected


async def test_rows_that_came_by_the_hundred_keep_their_past(
    tenant: Any, export: Any, bring: Any, http: httpx.AsyncClient, here: Any
) -> None:
    """The log holds them in sets, an archive one by one."""
    items = [{"op": "create", "data": {"name": f"Project {n}"}} for n in range(60)]
    made = await tenant.post("/v1/projects/batch", {"mode": "atomic", "items": items})
    edits = [
        {"op": "update", "id": result["id"], "data": {"budget_cents": n % 5 or None}}
        for n, result in enumerate(made.json()["results"])
    ]
    await tenant.post("/v1/projects/batch", {"mode": "atomic", "items": edits[::-1]})
    slug = f"copy-{tenant.body['tenant']['slug']}"

    answer = await bring(http, await export(tenant.tenant_id), ids="new", slug=slug)

    assert answer.status_code == 201, answer.text
    in_sets = here(
        "SELECT jsonb_object_agg(key, value -> n)"
        " FROM audit_sets, generate_series(0, size - 1) AS n, jsonb_each(columns)"
        " WHERE tenant_id = %s AND action = 'insert' GROUP BY id, n ORDER BY id, n",
        tenant.tenant_id,
    )
    alone = here(
        "SELECT changes FROM audit_log WHERE tenant_id = %s AND changes ? 'is_new' ORDER BY id",
        answer.json()["tenant"]["id"],
    )
    assert len(in_sets) == 60
    assert [row[0] for row in alone] == [
        {"is_new": True, "old": None, "new": row[0]} for row in in_sets
    ]
    changed = here(
        "SELECT changes FROM audit_log WHERE tenant_id = %s AND action = 'update'"
        " AND entity = 'projects' ORDER BY entity_id",
        answer.json()["tenant"]["id"],
    )
    assert [row[0] for row in changed] == [
        {"old": {"budget_cents": None}, "new": {"budget_cents": n % 5}} for n in range(60) if n % 5
    ]


async def test_the_log_keeps_its_order_and_a_row_its_way_back(
    lived_in: Any, copied: Any, here: Any, settings: Any, http: httpx.AsyncClient
) -> None:
    _, body = copied
    order = "SELECT at, action, entity FROM audit_log WHERE tenant_id = %s ORDER BY id"

    kept = here(order, lived_in.tenant_id)
    new = [row for row in here(order, body["tenant"]["id"]) if row[1] != "import"]

    assert new == kept
    ids = here(
        "SELECT (SELECT id FROM projects WHERE tenant_id = %s AND name = 'Project 2'), "
        "(SELECT id FROM members WHERE tenant_id = %s AND role = 'owner')",
        *[body["tenant"]["id"]] * 2,
    )[0]
    tokens = TokenIssuer(
        signing_key_from(settings), issuer=settings.jwt_issuer, audience=settings.jwt_audience
    )
    token = tokens.issue(str(ids[1]), tenant_id=UUID(body["tenant"]["id"]))
    headers = {"Authorization": f"Bearer {token}"}
    history = (await http.get(f"/v1/projects/{ids[0]}/history", headers=headers)).json()["items"]
    reverted = await http.post(
        f"/v1/projects/{ids[0]}/revert", json={"to": history[-1]["id"]}, headers=headers
    )
    assert [entry["action"] for entry in history] == ["update", "insert"]
    assert reverted.json()["description"] is None


async def test_no_key_of_the_first_opens_the_copy(
    lived_in: Any, copied: Any, http: httpx.AsyncClient
) -> None:
    _, body = copied
    headers = {"Authorization": f"Bearer {lived_in.key}"}

    own = await http.get("/v1/projects", headers=headers)
    copy = await http.get("/v1/projects", headers={**headers, "X-Tenant-ID": body["tenant"]["id"]})

    assert (own.status_code, copy.status_code) == (200, 404)


async def test_each_copy_is_a_tenant_of_its_own(
    lived_in: Any, copied: Any, bring: Any, http: httpx.AsyncClient, here: Any
) -> None:
    archive, body = copied

    taken = await bring(http, archive, ids="new", slug=body["tenant"]["slug"])
    second = await bring(http, archive, ids="new", slug=f"{body['tenant']['slug']}-2")

    assert (taken.status_code, taken.json()["errors"][0]["pointer"]) == (409, "/slug")
    assert second.status_code == 201
    first_ids, second_ids = (
        {json.loads(row)["id"] for found in here.of(id).values() for row in found}
        for id in (body["tenant"]["id"], second.json()["tenant"]["id"])
    )
    assert len(first_ids) == len(second_ids)
    assert not first_ids & second_ids


OLD, NEW = UUID(int=1), UUID(int=2)
ROW = "0199d3a0-1234-7abc-8def-0123456789ab"


def test_new_id_follows_from_the_old_one_and_the_new_tenant_alone() -> None:
    ids = NewIds(OLD, NEW)

    assert ids.id(ROW) == NewIds(OLD, NEW).id(ROW)
    assert ids.id(ROW) != NewIds(OLD, UUID(int=3)).id(ROW) != ROW
    assert ids.id(str(OLD)) == str(NEW)
    assert UUID(ids.id(ROW)).version == 7
    # The half with the time stays, so an older row keeps the smaller id.
    assert ids.id(ROW)[:19] == ROW[:19]


def test_actors_change_with_their_ids_and_others_stay() -> None:
    ids = NewIds(OLD, NEW)

    assert ids.actor(f"member:{ROW}") == f"member:{ids.id(ROW)}"
    assert ids.actor(f"key:{ROW}") == f"key:{ids.id(ROW)}"
    for other in ("platform:ops", f"system:{ROW}", "member:bob", ROW, "", f"x member:{ROW}"):
        assert ids.actor(other) == other
