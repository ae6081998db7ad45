"""Rows that came by the hundred have the same past as one that came alone."""

import pytest
from histories import entries, logged
from refusals import assert_refused


@pytest.fixture
async def many(tenant):
    """The ids of 120 projects, made by one batch, in its order."""
    return await _made(tenant, "Row")


async def _made(tenant, name):
    items = [{"op": "create", "data": {"name": f"{name} {n}"}} for n in range(120)]
    answer = await tenant.post("/v1/projects/batch", {"items": items})
    assert answer.status_code == 200, answer.text
    return [result["id"] for result in answer.json()["results"]]


async def test_its_history_is_that_of_a_row_alone(tenant, many):
    alone = await tenant.create("projects", name="Alone")
    path = f"/v1/projects/{many[70]}"
    await tenant.patch(path, {"budget_cents": 7})

    changed, created = (await tenant.get(f"{path}/history")).json()["items"]
    (other,) = (await tenant.get(f"/v1/projects/{alone['id']}/history")).json()["items"]

    assert changed["changes"] == {"budget_cents": {"old": None, "new": 7}}
    assert created["changes"].pop("name") == {"old": None, "new": "Row 70"}
    assert created.keys() == other.keys()
    assert created["entity_id"] == many[70]
    assert created["changes"].keys() == other["changes"].keys() - {"name"}
    assert (created["action"], created["actor"]) == ("insert", other["actor"])
    assert created["changes"]["created_at"]["new"][:19] == created["at"][:19]


async def test_it_is_as_it_was_and_goes_back_there(tenant, many):
    path = f"/v1/projects/{many[3]}"
    before = (await tenant.get(path)).json()
    await tenant.patch(path, {"name": "Other", "is_active": False})
    (created, _) = await entries(tenant, path)

    then = await tenant.get(f"{path}?as_of={before['created_at'].replace('+', '%2B')}")
    reverted = await tenant.post(f"{path}/revert", {"to": created})

    assert (then.status_code, then.json()) == (200, before)
    assert reverted.status_code == 200, reverted.text
    assert (reverted.json()["name"], reverted.json()["version"]) == ("Row 3", 3)


async def test_it_comes_back_after_it_was_gone_for_good(tenant, many):
    path = f"/v1/projects/{many[119]}"
    before = (await tenant.get(path)).json()
    await tenant.delete(f"{path}?hard=true")
    created, _ = await logged(tenant, many[119])

    back = await tenant.post(f"{path}/revert", {"to": created})

    assert back.status_code == 200, back.text
    changed = {"version", "updated_at", "updated_by"}
    assert {k: v for k, v in back.json().items() if k not in changed} == {
        k: v for k, v in before.items() if k not in changed
    }


async def test_entry_of_another_row_is_refused_like_that_of_another_tenant(
    tenant, other_tenant, many
):
    theirs = await _made(other_tenant, "Theirs")
    (neighbour,) = await entries(tenant, f"/v1/projects/{many[1]}")
    (foreign,) = await entries(other_tenant, f"/v1/projects/{theirs[0]}")

    for entry in (neighbour, foreign, many[0]):
        refused = await tenant.post(f"/v1/projects/{many[0]}/revert", {"to": entry})
        assert_refused(refused, 422, "invalid", {"/to": "unknown_reference"})
    seen = await tenant.get(f"/v1/audit?entity_id={theirs[0]}&include_total=true")
    assert (seen.json()["items"], seen.json()["total"]) == ([], 0)


async def test_all_of_them_are_in_the_log_page_by_page(tenant, other_tenant, many):
    await _made(other_tenant, "Theirs")
    path = "/v1/audit?entity=projects&action=insert&limit=50"
    found, lengths = [], []
    while path:
        page = (await tenant.get(path)).json()
        found += [entry["entity_id"] for entry in page["items"]]
        lengths.append(len(page["items"]))
        cursor = page["next_cursor"]
        path = cursor and f"/v1/audit?entity=projects&action=insert&limit=50&cursor={cursor}"

    assert (lengths, found) == ([50, 50, 20], many[::-1])


async def test_a_row_that_lived_among_many_has_the_past_of_one_alone(tenant, many):
    """New, changed, deleted, restored and changed again, always with 119 others."""
    lone = await tenant.create("projects", name="Alone")
    path = f"/v1/projects/{many[70]}"
    states = []
    for op, data in [
        ("update", {"budget_cents": 7, "description": "Red"}),
        ("update", {"budget_cents": None}),
        ("delete", {}),
        ("restore", {}),
        ("update", {"is_active": False}),
    ]:
        for ids in (many, [lone["id"]]):
            items = [{"op": op, "id": id} | ({"data": data} if data else {}) for id in ids]
            answer = await tenant.post("/v1/projects/batch", {"items": items})
            assert answer.json()["succeeded"] == len(ids), answer.text
        states.append(await tenant.get(path))

    *changes, _ = history = (await tenant.get(f"{path}/history")).json()["items"]
    *others, _ = (await tenant.get(f"/v1/projects/{lone['id']}/history")).json()["items"]

    for entry, other in zip(changes, others, strict=True):
        assert entry["changes"].keys() == other["changes"].keys()
        assert (entry["action"], entry["actor"]) == (other["action"], other["actor"])
    assert history[3]["changes"] == {"budget_cents": {"old": 7, "new": None}}
    for state, entry in zip(states, changes[::-1], strict=True):
        then = await tenant.get(f"{path}?as_of={entry['at'].replace('+', '%2B')}")
        assert then.status_code == state.status_code
        assert then.is_error or then.json() == state.json()
    back = await tenant.post(f"{path}/revert", {"to": history[4]["id"]})
    now = {name: back.json()[name] for name in ("version", "updated_at")}
    assert back.json() == states[0].json() | now
