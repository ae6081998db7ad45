"""`upsert` in a batch: rows found by their natural key, made or changed."""

import asyncio

import pytest
from batches import batch, created, failures, statuses
from refusals import assert_refused


@pytest.mark.parametrize("on_conflict", ["update", "skip", "error"])
async def test_upsert_does_to_a_taken_key_what_was_asked(tenant, on_conflict):
    there = await tenant.create("projects", name="There", budget_cents=1)
    same = await tenant.create("projects", name="Same", budget_cents=2)
    items = [
        {"op": "upsert", "data": {"name": name, "budget_cents": 2}}
        for name in ("There", "Same", "New", "New")
    ]

    answer = await batch(tenant, items, mode="partial", on_conflict=on_conflict)

    expected = {
        "update": ["updated", "skipped", "created", "failed"],
        "skip": ["skipped", "skipped", "created", "failed"],
        "error": ["failed", "failed", "created", "failed"],
    }
    assert statuses(answer) == expected[on_conflict]
    codes = {index: code for index, (code, _) in failures(answer).items()}
    assert codes[3] == "duplicate"
    ids = [result["id"] for result in answer.json()["results"]]
    if on_conflict != "error":
        assert ids[:2] == [there["id"], same["id"]]
    now = (await tenant.get(f"/v1/projects/{there['id']}")).json()
    assert (now["budget_cents"], now["version"]) == ((2, 2) if on_conflict == "update" else (1, 1))
    unchanged = (await tenant.get(f"/v1/projects/{same['id']}")).json()
    assert unchanged == same


async def test_upsert_changes_the_fields_that_it_names_alone(tenant):
    values = {"description": "Kept", "is_active": False, "budget_cents": 1}
    for name in ("One", "Two", "Three", "Four"):
        await tenant.create("projects", name=name, **values)

    answer = await batch(
        tenant,
        [
            {"op": "upsert", "data": {"name": "One", "budget_cents": 9}},
            {"op": "upsert", "data": {"name": "Two", "description": None, "is_active": True}},
            {"op": "upsert", "data": {"name": "Three"}},
            {"op": "upsert", "data": {"name": "Four", **values}},
            {"op": "upsert", "data": {"name": "New", "budget_cents": 9}},
        ],
    )

    assert statuses(answer) == ["updated", "updated", "skipped", "skipped", "created"]
    rows = (await tenant.get("/v1/projects?sort=created_at,name")).json()["items"]
    kept = {row["name"]: {name: row[name] for name in values} for row in rows}
    assert kept == {
        "One": values | {"budget_cents": 9},
        "Two": values | {"description": None, "is_active": True},
        "Three": values,
        "Four": values,
        "New": {"description": None, "is_active": True, "budget_cents": 9},
    }


async def test_upsert_is_one_however_it_is_spelled(tenant):
    row = await tenant.create("projects", name="Kept", budget_cents=1)
    body = rb'{"items": [{"op": "\u0075psert", "data": {"name": "Kept", "is_active": false}}]}'

    answer = await tenant(
        "POST",
        "/v1/projects/batch",
        content=body,
        headers={"Content-Type": "application/json"},
    )

    assert statuses(answer) == ["updated"]
    assert (await tenant.get(f"/v1/projects/{row['id']}")).json()["budget_cents"] == 1


@pytest.mark.parametrize("on_conflict", ["update", "skip", "error"])
async def test_key_that_stands_twice_is_a_duplicate_wherever_it_stands(tenant, on_conflict):
    items = [
        {"op": "upsert", "data": {"name": "Twice", "budget_cents": 1}},
        *created("Between"),
        {"op": "upsert", "data": {"name": "Twice", "budget_cents": 2}},
    ]

    refused = await batch(tenant, items, on_conflict=on_conflict)
    kept = await batch(tenant, items, mode="partial", on_conflict=on_conflict)

    assert_refused(refused, 409, "duplicate", {"/items/2/data/name": "duplicate"})
    assert failures(kept) == {2: ("duplicate", {"/items/2/data/name": "duplicate"})}
    row = (await tenant.get("/v1/projects?name=Twice")).json()["items"][0]
    assert (row["budget_cents"], row["version"]) == (1, 1)


async def test_upsert_of_a_deleted_key_makes_a_new_row(tenant):
    gone = await tenant.create("projects", name="Gone")
    await tenant.delete(f"/v1/projects/{gone['id']}")

    answer = await batch(tenant, [{"op": "upsert", "data": {"name": "Gone"}}])

    assert statuses(answer) == ["created"]
    assert answer.json()["results"][0]["id"] != gone["id"]


@pytest.mark.parametrize("on_conflict", ["update", "skip"])
async def test_parallel_upserts_of_the_same_rows_in_any_order_all_succeed(tenant, on_conflict):
    items = [{"op": "upsert", "data": {"name": f"Row {i:03}"}} for i in range(200)]
    options = {"mode": "atomic", "on_conflict": on_conflict}

    answers = await asyncio.gather(
        *(batch(tenant, items[:: (1, -1)[i % 2]], **options) for i in range(8))
    )

    assert {answer.status_code for answer in answers} == {200}
    assert sum(statuses(answer).count("created") for answer in answers) == 200
