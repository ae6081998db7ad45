"""A tenant that stores as much as its plan allows gets no new rows until some are gone for good."""

from uuid import UUID

import pytest

from saas.context import Principal, acting_as
from saas.db.bulk_import import import_rows
from saas.db.orm import async_engine, async_sessions
from saas.db.transaction import Transaction, transaction
from saas.errors import QuotaExceeded
from saas.features.projects import Project, projects
from saas.limits import Limits
from saas.usage.folding import fold

MOST = 3_000
TEXT = "x" * 900


def assert_full(answer):
    assert answer.status_code == 429, answer.text
    problem = answer.json()
    assert (problem["code"], problem["limit"], problem["value"]) == (
        "quota_exceeded",
        "storage_bytes",
        MOST,
    )
    assert f"{MOST} bytes" in problem["detail"]
    assert "retry-after" not in answer.headers


async def stored(tenant):
    return (await tenant.get("/v1/stats")).json()["storage_bytes"]


@pytest.fixture
async def full(on_plan, database):
    """A tenant whose rows have more bytes than it may have, some of them folded."""
    tenant = await on_plan(storage_bytes=MOST)
    for number in range(3):
        await tenant.create("projects", name=f"p{number}", description=TEXT)
        if number == 1:
            await fold(database)
    # The last one began below the limit, and went beyond it.
    assert await stored(tenant) >= MOST
    return tenant


async def test_create_beyond_the_bytes_is_refused_until_a_row_is_gone_for_good(full):
    (first, *_) = (await full.get("/v1/projects?sort=name")).json()["items"]
    assert_full(await full.post("/v1/projects", {"name": "More"}))

    await full.delete(f"/v1/projects/{first['id']}")
    assert_full(await full.post("/v1/projects", {"name": "More"}))
    # What was there needs no new room.
    assert (await full.post(f"/v1/projects/{first['id']}/restore")).status_code == 200
    changed = await full.patch(f"/v1/projects/{first['id']}", {"description": "short"})
    assert changed.status_code == 200

    assert await stored(full) < MOST
    assert (await full.post("/v1/projects", {"name": "More"})).status_code == 201


async def test_name_that_is_taken_stays_a_conflict(full):
    assert (await full.post("/v1/projects", {"name": "p0"})).status_code == 409


async def test_partial_batch_does_what_needs_no_new_room(full):
    (first, second, _) = (await full.get("/v1/projects?sort=name")).json()["items"]
    items = [
        {"op": "create", "data": {"name": "New"}},
        {"op": "upsert", "data": {"name": "p1", "description": "changed"}},
        {"op": "upsert", "data": {"name": "Other", "description": "more"}},
        {"op": "delete", "id": first["id"]},
    ]

    report = (
        await full.post(
            "/v1/projects/batch", {"mode": "partial", "on_conflict": "update", "items": items}
        )
    ).json()

    assert [result["status"] for result in report["results"]] == [
        "failed",
        "updated",
        "failed",
        "deleted",
    ]
    assert report["results"][0]["error"]["code"] == "quota_exceeded"
    assert "bytes" in report["results"][2]["error"]["detail"]
    assert report["results"][1]["id"] == second["id"]


async def test_job_with_the_limit_is_held_to_it_in_every_way_to_write(full, database, settings):
    limits = Limits(storage_bytes=MOST)
    who = Principal(tenant_id=UUID(full.tenant_id), actor="system:test", limits=limits)
    engine = async_engine(settings.database_url)
    with acting_as(who):
        with pytest.raises(QuotaExceeded, match="bytes"):
            async with transaction(database):
                await projects.repository.create({"name": "More"})
        with pytest.raises(QuotaExceeded, match="bytes"):
            await import_rows(projects, [{"name": "More"}], database=database)
        async with async_sessions(engine)() as session:
            session.add(Project(name="More"))
            with pytest.raises(QuotaExceeded, match="bytes"):
                await session.commit()
    await engine.dispose()
    assert len((await full.get("/v1/projects")).json()["items"]) == 3


async def test_transaction_sees_what_it_has_stored_itself(tenant, database):
    limits = Limits(storage_bytes=MOST)
    who = Principal(tenant_id=UUID(tenant.tenant_id), actor="system:test", limits=limits)
    with acting_as(who):
        async with Transaction(database.app):
            for number in range(3):
                await projects.repository.create({"name": f"p{number}", "description": TEXT})
            with pytest.raises(QuotaExceeded, match="bytes"):
                await projects.repository.create({"name": "p3"})

    assert (await tenant.get("/v1/stats")).json()["resources"]["projects"]["total"] == 0


async def test_another_tenants_bytes_take_no_room(full, on_plan):
    other = await on_plan(storage_bytes=MOST)

    assert (await other.post("/v1/projects", {"name": "More"})).status_code == 201


@pytest.mark.parametrize("was_deleted", [False, True])
async def test_row_that_was_purged_does_not_come_back_beyond_the_bytes(full, was_deleted):
    (first, *_) = (await full.get("/v1/projects?sort=name")).json()["items"]
    path = f"/v1/projects/{first['id']}"
    await full.delete(path)
    await full.delete(f"{path}?hard=true")
    entries = (await full.get(f"/v1/audit?entity_id={first['id']}&sort=at")).json()["items"]
    created, deleted, _ = [entry["id"] for entry in entries]
    revert = {"to": deleted if was_deleted else created}
    other = await full.create("projects", name="Instead", description=TEXT)

    assert_full(await full.post(f"{path}/revert", revert))

    await full.delete(f"/v1/projects/{other['id']}?hard=true")
    assert (await full.post(f"{path}/revert", revert)).status_code == 200
