"""The figures of a tenant that comes from an archive are those of what it has."""

from typing import Any

import httpx

HELD = """SELECT entity, sum(live)::int, sum(active)::int, sum(removed)::int, sum(bytes)::int
FROM (SELECT tenant, entity, live, active, removed, bytes FROM usage_totals UNION ALL
      SELECT tenant, entity, live, active, removed, bytes FROM usage_changes) AS had
WHERE tenant = %s GROUP BY entity HAVING sum(live + removed) > 0 ORDER BY entity"""
DONE = """SELECT entity, actor, sum(created)::int, sum(updated)::int, sum(deleted)::int
FROM (SELECT tenant, entity, actor, created, updated, deleted FROM usage_activity UNION ALL
      SELECT tenant, entity, actor, created, updated, deleted FROM usage_changes) AS had
WHERE tenant = %s GROUP BY entity, actor HAVING sum(created + updated + deleted) > 0
ORDER BY entity, actor"""
METERS = """SELECT meter, kind, sum(events)::int, sum(quantity)::int
FROM (SELECT tenant, meter, kind, events, quantity FROM usage_meters UNION ALL
      SELECT tenant, meter, kind, events, quantity FROM usage_meter_changes) AS had
WHERE tenant = %s GROUP BY meter, kind"""
EVENTS = """SELECT meter, split_part(actor, ':', 1), count(*)::int, sum(quantity)::int
FROM usage_events WHERE tenant_id = %s GROUP BY 1, 2"""
LAST_QUARTER = """SELECT to_char(max(date_bin('15 minutes', at, '2000-01-01 00:00+00'))
  AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') FROM audit_log WHERE tenant_id = %s"""
SHOWN = ("resources", "members", "api_keys", "storage_bytes", "last_activity_at")


def true_held(rows: Any, tenant: str) -> Any:
    rows("SELECT set_config('app.tenant_id', %s, false)", tenant)
    found = rows("SELECT entity, live, active, removed, bytes FROM usage_of_rows() ORDER BY entity")
    rows("SELECT set_config('app.tenant_id', '', false)")
    return found


async def test_a_moved_tenant_has_its_figures(
    lived_in: Any, export: Any, bring: Any, elsewhere: httpx.AsyncClient, here: Any, there: Any
) -> None:
    id = lived_in.tenant_id
    archive = await export(id)

    tried = await bring(elsewhere, archive, dry_run="true")
    assert (tried.status_code, there(HELD, id), there(METERS, id)) == (200, [], []), tried.text
    moved = await bring(elsewhere, archive)

    assert moved.status_code == 201, moved.text
    assert there(HELD, id) == true_held(there, id) == here(HELD, id) != []
    assert there(DONE, id) == here(DONE, id) != []
    assert there(METERS, id) == [("pdf_pages", "system", 1, 3)] == there(EVENTS, id)
    key = {"Authorization": f"Bearer {lived_in.key}"}
    stats = (await elsewhere.get("/v1/stats", headers=key)).json()
    own = (await lived_in.get("/v1/stats")).json()
    # The last activity is known to the quarter of an hour in which it was.
    own["last_activity_at"] = here(LAST_QUARTER, id)[0][0]
    assert {name: stats[name] for name in SHOWN} == {name: own[name] for name in SHOWN}


async def test_a_copy_under_new_ids_has_the_figures_of_what_it_got(
    lived_in: Any, export: Any, bring: Any, http: httpx.AsyncClient, here: Any
) -> None:
    before = here(HELD, lived_in.tenant_id)
    slug = f"figures-{lived_in.body['tenant']['slug']}"

    copied = await bring(http, await export(lived_in.tenant_id), ids="new", slug=slug)

    copy = copied.json()["tenant"]["id"]
    assert here(HELD, copy) == true_held(here, copy) != []
    assert here(METERS, copy) == here(EVENTS, copy) != []
    assert here(HELD, lived_in.tenant_id) == before


async def test_rows_and_events_that_come_back_count_once(
    lived_in: Any, export: Any, bring: Any, http: httpx.AsyncClient, here: Any
) -> None:
    id = lived_in.tenant_id
    event = {"meter": "mails", "idempotency_key": "a", "quantity": 4}
    await lived_in.post("/v1/usage/events", {"events": [event]})
    archive = await export(id)
    here("DELETE FROM usage_events WHERE tenant_id = %s", id)
    here("DELETE FROM usage_meter_changes WHERE tenant = %s", id)
    for project in (await lived_in.get("/v1/projects")).json()["items"]:
        await lived_in.delete(f"/v1/projects/{project['id']}?hard=true")
    other = {"meter": "mails", "idempotency_key": "b", "quantity": 9}
    await lived_in.post("/v1/usage/events", {"events": [other]})

    for _ in range(2):
        merged = await bring(http, archive, on_conflict="update")
        assert merged.status_code == 201, merged.text
        assert here(HELD, id) == true_held(here, id)
        assert sorted(here(METERS, id)) == sorted(here(EVENTS, id))
    assert {name: count for name, _, count, _ in here(METERS, id)} == {"mails": 2, "pdf_pages": 1}


async def test_events_beyond_what_a_figure_holds_come_back_as_the_most_it_holds(
    lived_in: Any, export: Any, bring: Any, http: httpx.AsyncClient, here: Any
) -> None:
    id, most = lived_in.tenant_id, 2**53 - 1
    here(
        "INSERT INTO usage_events (tenant_id, meter, key, quantity, at, actor) "
        "SELECT %s, 'huge', n, %s, date_trunc('day', now(), 'UTC'), 'key:x' "
        "FROM generate_series(1, 1100) AS n",
        id,
        most,
    )

    merged = await bring(http, await export(id), on_conflict="update")

    assert merged.status_code == 201, merged.text
    found = "SELECT events, quantity FROM usage_meter_changes WHERE tenant = %s AND meter = 'huge'"
    assert here(found, id) == [(1_100, most)]
