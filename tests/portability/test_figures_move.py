"""The figures of a tenant that an archive has brought are right at once."""

from typing import Any
from uuid import UUID

import httpx

from saas.db.database import Database
from saas.usage.truth import compare


async def drift_of(settings: Any, tenant_id: str) -> list[Any]:
    urls = settings.database_url, settings.platform_database_url
    async with Database(*urls, size=2) as database:
        return (await compare(database, UUID(tenant_id))).drift


async def stats(client: httpx.AsyncClient, key: str) -> dict[str, Any]:
    answer = await client.get("/v1/stats", headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def test_moved_tenant_has_the_figures_that_it_had(
    lived_in: Any, export: Any, bring: Any, elsewhere: Any, elsewhere_settings: Any
) -> None:
    before = (await lived_in.get("/v1/stats")).json()

    assert (await bring(elsewhere, await export(lived_in.tenant_id))).status_code == 201

    assert await drift_of(elsewhere_settings, lived_in.tenant_id) == []
    after = await stats(elsewhere, lived_in.key)
    same = ("resources", "storage_bytes", "members", "api_keys")
    assert {name: after[name] for name in same} == {name: before[name] for name in same}
    assert before["resources"]["projects"]["total"] == 3


async def test_moved_tenants_changes_are_counted_on(
    lived_in: Any, export: Any, bring: Any, elsewhere: Any, elsewhere_settings: Any
) -> None:
    await bring(elsewhere, await export(lived_in.tenant_id))
    before = await stats(elsewhere, lived_in.key)

    key = {"Authorization": f"Bearer {lived_in.key}"}
    made = await elsewhere.post("/v1/projects", json={"name": "New here"}, headers=key)

    assert made.status_code == 201
    after = await stats(elsewhere, lived_in.key)
    assert after["resources"]["projects"]["total"] == 4
    assert after["storage_bytes"] > before["storage_bytes"]
    assert await drift_of(elsewhere_settings, lived_in.tenant_id) == []


async def test_copy_with_new_ids_has_the_figures_of_the_first(
    lived_in: Any, export: Any, bring: Any, http: Any, settings: Any, operator: Any
) -> None:
    before = (await lived_in.get("/v1/stats")).json()
    slug = f"copy-of-{lived_in.body['tenant']['slug']}"

    answer = await bring(http, await export(lived_in.tenant_id), ids="new", slug=slug)

    assert answer.status_code == 201, answer.text
    copy = answer.json()["tenant"]["id"]
    assert await drift_of(settings, copy) == []
    held = (await operator.get(f"/v1/admin/tenants/{copy}/stats")).json()
    assert held["resources"] == before["resources"]
    assert (await lived_in.get("/v1/stats")).json()["storage_bytes"] == before["storage_bytes"]


async def test_merge_is_counted_with_its_events_once(
    lived_in: Any, export: Any, bring: Any, http: Any, settings: Any, here: Any
) -> None:
    id = lived_in.tenant_id
    archive = await export(id)
    here("DELETE FROM usage_events WHERE tenant_id = %s", id)
    for row in (await lived_in.get("/v1/tasks")).json()["items"]:
        assert (await lived_in.delete(f"/v1/tasks/{row['id']}?hard=true")).status_code == 204
    (renamed, *_) = (await lived_in.get("/v1/projects")).json()["items"]
    await lived_in.patch(f"/v1/projects/{renamed['id']}", {"name": "Renamed"})
    assert await drift_of(settings, id) == []

    for _ in range(2):
        answer = await bring(http, archive, on_conflict="update")

        assert answer.status_code in {200, 201}, answer.text
        assert await drift_of(settings, id) == []
    assert (await lived_in.get("/v1/stats")).json()["resources"]["tasks"]["total"] == 3
    changes = "SELECT sum(events), sum(quantity) FROM usage_meter_changes WHERE tenant = %s"
    assert here(changes, id) == [(1, 3)]
