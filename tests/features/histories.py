"""The entries of a row, as a client finds them."""


async def entries(caller, path):
    """The ids of a row's entries, the oldest first."""
    answer = await caller.get(f"{path}/history?limit=100")
    assert answer.status_code == 200, answer.text
    return [entry["id"] for entry in reversed(answer.json()["items"])]


async def logged(caller, id):
    """The same from the audit log, which also knows what is gone."""
    items = (await caller.get(f"/v1/audit?entity_id={id}&sort=id&limit=100")).json()["items"]
    return [entry["id"] for entry in items]
