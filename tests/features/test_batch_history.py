"""The history of rows that came by the hundred, of which the log keeps a shorter form."""

import psycopg
import pytest
from histories import entries, logged

from saas.db.roles import APP

COUNT = 60


@pytest.fixture
async def rows(tenant):
    items = [{"op": "create", "data": {"name": f"Row {n:02}"}} for n in range(COUNT)]
    answer = await tenant.post("/v1/projects/batch", {"items": items})
    assert answer.status_code == 200, answer.text
    return (await tenant.get("/v1/projects?sort=name&limit=100")).json()["items"]


async def test_entry_shows_every_field_of_the_row(tenant, rows):
    answer = await tenant.get("/v1/audit?entity=projects&action=insert&sort=id&limit=100")

    shown = answer.json()["items"]
    assert [entry["entity_id"] for entry in shown] == [row["id"] for row in rows]
    for entry, row in zip(shown, rows, strict=True):
        told = {name: value["new"] for name, value in entry["changes"].items()}
        times = {told.pop(name).removesuffix("+00:00") for name in ("created_at", "updated_at")}
        assert times == {row["created_at"].removesuffix("Z").rstrip("0")}
        del row["id"], row["created_at"], row["updated_at"]
        assert told == {name: value for name, value in row.items() if value is not None}
        assert {value["old"] for value in entry["changes"].values()} == {None}


async def test_row_goes_back_to_how_it_was_made(tenant, rows):
    row, path = rows[7], f"/v1/projects/{rows[7]['id']}"
    (made,) = await entries(tenant, path)
    await tenant.patch(path, {"name": "Changed", "budget_cents": 5})
    await tenant.delete(path)

    then = (await tenant.get(path, params={"as_of": row["created_at"]})).json()
    back = (await tenant.post(f"{path}/revert", {"to": made})).json()

    assert then == row
    assert back == row | {"version": 4} | {n: back[n] for n in ("updated_at", "updated_by")}


async def test_purged_row_comes_back_as_it_was_made(tenant, rows):
    row, path = rows[7], f"/v1/projects/{rows[7]['id']}"
    await tenant.patch(path, {"name": "Changed"})
    await tenant.delete(f"{path}?hard=true")
    made, *_ = await logged(tenant, row["id"])

    then = (await tenant.get(path, params={"as_of": row["created_at"]})).json()
    back = (await tenant.post(f"{path}/revert", {"to": made})).json()

    assert then == row
    assert (back["name"], back["version"]) == (row["name"], 3)
    assert (back["created_at"], back["created_by"]) == (row["created_at"], row["created_by"])


async def test_first_version_is_one_whatever_raw_sql_did_later(tenant, rows, postgres):
    row, path = rows[7], f"/v1/projects/{rows[7]['id']}"
    with psycopg.connect(postgres.dsn(APP)) as connection:
        connection.execute(f"SET LOCAL app.tenant_id = '{tenant.tenant_id}'")
        connection.execute("UPDATE projects SET version = 40 WHERE id = %s", [row["id"]])
    await tenant.patch(path, {"name": "Changed"})

    then = (await tenant.get(path, params={"as_of": row["created_at"]})).json()

    assert then == row
