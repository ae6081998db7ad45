"""`fields=`: rows of which only some fields are shown."""

import pytest
from refusals import assert_refused


@pytest.fixture
async def shelf(tenant):
    for number in range(3):
        await tenant.create("projects", name=f"p{number}", budget_cents=number % 2)
    return tenant


async def test_list_shows_only_the_fields_asked_for_as_the_whole_rows_do(shelf):
    whole = (await shelf.get("/v1/projects")).json()["items"]

    for names in (["id"], ["name", "id"], ["deleted_at", "version", "created_at"], list(whole[0])):
        answer = await shelf.get("/v1/projects", params={"fields": ",".join(names)})
        assert answer.json()["items"] == [{name: row[name] for name in names} for row in whole]


@pytest.mark.parametrize("sort", ["-created_at", "budget_cents,-name", "-name"])
async def test_pages_go_on_though_the_sort_is_not_shown(shelf, sort):
    query = {"sort": sort, "limit": 1, "fields": "id", "include_total": "true"}
    whole = (await shelf.get("/v1/projects", params={"sort": sort})).json()["items"]

    seen = []
    answer = await shelf.get("/v1/projects", params=query)
    seen += answer.json()["items"]
    while "next" in answer.links:
        answer = await shelf.get(answer.links["next"]["url"])
        seen += answer.json()["items"]

    assert seen == [{"id": row["id"]} for row in whole]
    assert answer.json()["total"] == 3
    back = await shelf.get(answer.links["prev"]["url"])
    assert back.json()["items"] == seen[1:2]


async def test_fields_may_change_between_pages(shelf):
    cursor = (await shelf.get("/v1/projects?limit=2&fields=id")).json()["next_cursor"]

    rest = await shelf.get("/v1/projects", params={"fields": "name", "cursor": cursor})

    assert rest.json()["items"] == [{"name": "p0"}]


async def test_one_row_shows_only_the_fields_asked_for_and_keeps_its_etag(shelf):
    row = (await shelf.get("/v1/projects")).json()["items"][0]
    path = f"/v1/projects/{row['id']}"
    await shelf.patch(path, {"budget_cents": 7})

    for names in ("name", "id,budget_cents", "version,id"):
        answer = await shelf.get(path, params={"fields": names})
        assert answer.json() == {
            n: (row | {"version": 2, "budget_cents": 7})[n] for n in names.split(",")
        }
        assert answer.headers["etag"] == '"2"'
    held = await shelf.get(path, params={"fields": "name"}, headers={"If-None-Match": '"2"'})
    assert (held.status_code, held.content) == (304, b"")


async def test_absent_or_foreign_row_is_not_found_whatever_the_fields(shelf, other_tenant):
    row = (await shelf.get("/v1/projects?fields=id")).json()["items"][0]
    path = f"/v1/projects/{row['id']}?fields=name"

    assert (await shelf.get(path)).json() == {"name": "p2"}
    assert_refused(await other_tenant.get(path), 404, "not_found")
    assert_refused(await shelf.get("/v1/projects/x?fields=name"), 404, "not_found")


async def test_audit_history_and_tenants_take_fields_too(shelf, operator):
    row = (await shelf.get("/v1/projects")).json()["items"][0]
    history = (await shelf.get(f"/v1/projects/{row['id']}/history")).json()["items"]
    fields = {"fields": "action,changes"}

    narrow = (await shelf.get(f"/v1/projects/{row['id']}/history", params=fields)).json()["items"]
    log = (await shelf.get("/v1/audit", params=fields | {"limit": 1})).json()["items"]
    tenants = await operator.get("/v1/admin/tenants?fields=slug&limit=1&sort=name")

    assert narrow == log == [{key: history[0][key] for key in ("action", "changes")}]
    assert narrow[0]["changes"]["name"] == {"old": None, "new": "p2"}
    (tenant,) = tenants.json()["items"]
    assert tenant.keys() == {"slug"}


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("fields=", "Unknown field ''. Allowed: id, version"),
        ("fields=colour", "Unknown field 'colour'. Allowed: id, version"),
        ("fields=id,", "Unknown field ''"),
        ("fields=id, name", "Unknown field ' name'"),
        ("fields=ID", "Unknown field 'ID'"),
        ("fields=tenant_id", "Unknown field 'tenant_id'"),
        ("fields=id,id", "Name each field once."),
        ("fields=id&fields=name", "Give it once."),
    ],
)
async def test_fields_that_are_not_allowed_are_refused_on_lists_and_rows(shelf, query, said):
    row = (await shelf.get("/v1/projects?limit=1")).json()["items"][0]

    for path in ("/v1/projects", f"/v1/projects/{row['id']}"):
        refused = await shelf.get(f"{path}?{query}")
        problem = assert_refused(refused, 400, "bad_request", {"/fields": "bad_parameter"})
        assert said in problem["detail"]
