"""What every resource of the product lets a caller ask for, asked for another tenant's rows."""

import itertools
import json
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Column

from isolation.conftest import Ask
from isolation.raw import Raw, rows_of
from isolation.surface import RESOURCE_BY_NAME, references_of
from isolation.worlds import Answer, World, create, rows_in
from saas.db.models import PROTECTED
from saas.db.query_values import operators_of
from saas.web.resource import AnyResource

by_resource = pytest.mark.parametrize("resource", RESOURCE_BY_NAME.values(), ids=RESOURCE_BY_NAME)
# As many rows as there are, and their number, so that one that is counted but not shown is seen.
WHOLE = {"limit": "100", "include_total": "true", "deleted": "include"}


def filterable(resource: AnyResource) -> list[Column[Any]]:
    unfiltered = {"tenant_id", "deleted_at", "deleted_by"}
    return [c for c in resource.repository.table.columns if c.name not in unfiltered]


def as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


@pytest.mark.changes_nothing
@by_resource
async def test_no_operator_of_any_column_finds_or_counts_a_foreign_row(
    resource: AnyResource, as_attacker: Ask, as_victim: Ask, attacker: World, victim: World
) -> None:
    own = {*attacker.live[resource.name], attacker.deleted[resource.name]}
    wanted = victim.live[resource.name][0]
    row = rows_in(await as_victim("GET", resource.path, params={**WHOLE, "id": wanted}))[0]

    for column in filterable(resource):
        value = as_text(row[column.name])
        found = await as_victim("GET", resource.path, params={**WHOLE, column.name: value})
        assert wanted in {row["id"] for row in rows_in(found)}
        for operator in operators_of(column):
            asked = "true" if operator == "isnull" else value
            query = {**WHOLE, f"{column.name}__{operator}": asked}
            answer = await as_attacker("GET", resource.path, params=query)
            rows = rows_in(answer)
            assert {row["id"] for row in rows} <= own
            assert json.loads(answer.body)["total"] == len(rows)


@pytest.mark.changes_nothing
@by_resource
async def test_no_group_of_conditions_widens_a_list_to_a_foreign_row(
    resource: AnyResource, as_attacker: Ask, as_victim: Ask, attacker: World, victim: World
) -> None:
    own = {*attacker.live[resource.name], attacker.deleted[resource.name]}
    wanted = victim.live[resource.name][0]
    row = rows_in(await as_victim("GET", resource.path, params={**WHOLE, "id": wanted}))[0]

    for column in filterable(resource):
        for operator in operators_of(column):
            quoted = json.dumps(as_text(row[column.name]))
            value = {"isnull": "true", "in": f"({quoted})", "nin": f"({quoted})"}
            term = f"{column.name}.{operator}.{value.get(operator, quoted)}"
            query = {**WHOLE, "or": f"({term},id.eq.{wanted},version.gte.0)"}
            answer = await as_attacker("GET", resource.path, params=query)
            assert {row["id"] for row in rows_in(answer)} == own
            assert json.loads(answer.body)["total"] == len(own)
            found = await as_victim("GET", resource.path, params=query)
            assert wanted in {row["id"] for row in rows_in(found)}


@pytest.mark.changes_nothing
@by_resource
async def test_no_walk_forth_and_back_in_any_order_meets_a_foreign_row(
    resource: AnyResource, as_attacker: Ask, attacker: World
) -> None:
    own = {*attacker.live[resource.name], attacker.deleted[resource.name]}

    for column, sign in itertools.product(filterable(resource), ("", "-")):
        query = {"limit": "1", "sort": sign + column.name, "deleted": "include", "fields": "id"}
        for side in ("next_cursor", "prev_cursor"):
            seen = []
            while len(seen) <= len(own):
                answer = await as_attacker("GET", resource.path, params=query)
                seen += [row["id"] for row in rows_in(answer)]
                body = json.loads(answer.body)
                if body[side] is None:
                    break
                query["cursor"] = body[side]
            # The walk back begins at the last page, where the walk forth has ended.
            assert sorted(seen) == sorted(own)


@pytest.mark.changes_nothing
@by_resource
async def test_no_order_page_or_search_reaches_a_foreign_row(
    resource: AnyResource, as_attacker: Ask, as_victim: Ask, attacker: World, victim: World
) -> None:
    own = {*attacker.live[resource.name], attacker.deleted[resource.name]}
    orders = [f"{sign}{c.name}" for sign in ("", "-") for c in filterable(resource)]

    for sort, place in itertools.product(orders, ({}, {"offset": "0"})):
        answer = await as_attacker("GET", resource.path, params={**WHOLE, **place, "sort": sort})
        rows = rows_in(answer)
        assert {row["id"] for row in rows} == own
        assert json.loads(answer.body)["total"] == len(own)

    far = await as_attacker("GET", resource.path, params={**WHOLE, "offset": str(len(own))})
    assert rows_in(far) == []
    for deleted in ("include", "only", "exclude"):
        query = {**WHOLE, "deleted": deleted, "q": victim.marker}
        assert rows_in(await as_victim("GET", resource.path, params=query))
        assert rows_in(await as_attacker("GET", resource.path, params=query)) == []


@pytest.mark.changes_nothing
@by_resource
async def test_the_past_of_a_foreign_row_is_as_absent_as_that_of_no_row(
    resource: AnyResource, as_attacker: Ask, as_victim: Ask, attacker: World, victim: World
) -> None:
    own = f"{resource.path}/{attacker.live[resource.name][0]}"
    ids = [*victim.live[resource.name], victim.deleted[resource.name]]
    times = [entry["at"] for entry in await history_of(as_victim, resource, ids[-1])]
    path = f"{resource.path}/{ids[-1]}"
    assert (await as_victim("GET", path, params={"as_of": times[-1]})).status == 200
    times.append(json.loads((await as_attacker("GET", own)).body)["created_at"])
    assert (await as_attacker("GET", own, params={"as_of": times[-1]})).status == 200

    for time in times:
        absent = await as_attacker("GET", f"{resource.path}/{uuid4()}", params={"as_of": time})
        assert absent.status == 404
        for id in ids:
            path = f"{resource.path}/{id}"
            assert await as_attacker("GET", path, params={"as_of": time}) == absent


@by_resource
async def test_no_foreign_row_or_entry_is_the_aim_of_a_revert(
    resource: AnyResource,
    as_attacker: Ask,
    as_victim: Ask,
    attacker: World,
    victim: World,
    raw: Raw,
) -> None:
    own, *_ = attacker.live[resource.name]
    own_entry = (await history_of(as_attacker, resource, own))[-1]["id"]
    rows = [*victim.live[resource.name], victim.deleted[resource.name]]
    entries = [e["id"] for id in rows for e in await history_of(as_victim, resource, id)]
    before = rows_of(raw, victim.tenant_id)

    async def attack(id: str, to: str) -> Answer:
        path = f"{resource.path}/{id}/revert"
        return (await as_attacker("POST", path, json={"to": to})).without(id, to)

    no_row, no_entry = await attack(str(uuid4()), own_entry), await attack(own, str(uuid4()))
    assert (no_row.status, no_entry.status) == (404, 422)
    for id, to in itertools.product(rows, [own_entry, *entries]):
        assert await attack(id, to) == no_row
    for to in entries:
        assert await attack(own, to) == no_entry
    assert (await attack(own, own_entry)).status == 200

    assert rows_of(raw, victim.tenant_id) == before


async def history_of(ask: Ask, resource: AnyResource, id: str) -> list[dict[str, Any]]:
    return rows_in(await ask("GET", f"{resource.path}/{id}/history", params={"limit": "100"}))


@by_resource
async def test_a_parent_of_another_tenant_is_refused_like_an_absent_or_deleted_one(
    resource: AnyResource, as_attacker: Ask, attacker: World, victim: World, raw: Raw
) -> None:
    path = f"{resource.path}/{attacker.live[resource.name][0]}"
    before = rows_of(raw, victim.tenant_id)

    for column, parent in references_of(resource.name).items():
        absent = "00000000-0000-7000-8000-000000000000"
        foreign = [victim.parents[parent], victim.deleted.get(parent, absent)]
        refused = [absent, attacker.deleted.get(parent, absent), *foreign]
        for method, target, schema in (
            ("POST", resource.path, resource.create),
            ("PATCH", path, resource.update),
        ):
            body = attacker.body(schema, resource.name)
            answers = {
                (await as_attacker(method, target, json={**body, column: id})).without(id)
                for id in refused
            }
            assert len(answers) == 1
            assert answers.pop().status == 422
            assert (await as_attacker(method, target, json=body)).status in {200, 201}

    assert rows_of(raw, victim.tenant_id) == before


@by_resource
async def test_every_protected_field_of_a_body_is_refused(
    resource: AnyResource, as_attacker: Ask, attacker: World, victim: World, as_victim: Ask
) -> None:
    path = f"{resource.path}/{attacker.live[resource.name][0]}"
    foreign = json.loads((await as_victim("GET", f"{resource.path}/{victim.targets[0]}")).body)
    values = {**foreign, "tenant_id": victim.tenant_id}
    before = await as_attacker("GET", path)

    for name in PROTECTED:
        for method, target, schema in (
            ("POST", resource.path, resource.create),
            ("PATCH", path, resource.update),
        ):
            if (method, name) != ("PATCH", "version"):
                body = {**attacker.body(schema, resource.name), name: values.get(name)}
                assert (await as_attacker(method, target, json=body)).status == 422

    assert await as_attacker("GET", path) == before
    body = attacker.body(resource.update, resource.name)
    assert (await as_attacker("PATCH", path, json=body)).status == 200


@by_resource
async def test_two_tenants_may_use_the_same_values_and_the_same_idempotency_key(
    resource: AnyResource, as_attacker: Ask, as_victim: Ask, attacker: World, victim: World
) -> None:
    key = {"Idempotency-Key": "the-same-for-both"}
    body = victim.body(resource.create, resource.name)
    theirs = await as_victim("POST", resource.path, json=body, headers=key)
    references = references_of(resource.name).items()
    own_body = {**body, **{c: attacker.parents[p] for c, p in references if c in body}}

    mine = await as_attacker("POST", resource.path, json=own_body, headers=key)

    assert (theirs.status, mine.status) == (201, 201)
    assert json.loads(theirs.body)["id"] != json.loads(mine.body)["id"]
    if resource.repository.natural_key:
        taken = await as_attacker("POST", resource.path, json=own_body)
        assert taken.status == 409
        assert victim.shown_in(taken) in ([], [victim.marker])


@by_resource
async def test_a_cursor_of_another_tenant_or_list_is_refused(
    resource: AnyResource, as_attacker: Ask, as_victim: Ask, attacker: World, victim: World
) -> None:
    own, foreign = attacker.live[resource.name][0], victim.live[resource.name][0]
    for world, ask_as, id in ((attacker, as_attacker, own), (victim, as_victim, foreign)):
        body = world.body(resource.update, resource.name)
        assert (await ask_as("PATCH", f"{resource.path}/{id}", json=body)).status == 200
    lists = (
        (resource.path, resource.path, {}),
        (resource.path, resource.path, {"sort": "id", "deleted": "include"}),
        (f"{resource.path}/{foreign}/history", f"{resource.path}/{own}/history", {}),
        ("/v1/audit", "/v1/audit", {}),
    )

    for their_path, own_path, filters in lists:
        query = {**filters, "limit": "1"}
        theirs = json.loads((await as_victim("GET", their_path, params=query)).body)
        mine = json.loads((await as_attacker("GET", own_path, params=query)).body)
        junk = await as_attacker("GET", own_path, params={**query, "cursor": "AAAA"})
        assert junk.status == 400
        stolen = {**query, "cursor": theirs["next_cursor"]}
        assert await as_attacker("GET", own_path, params=stolen) == junk
        elsewhere = {"limit": "1", "cursor": mine["next_cursor"]}
        for path in {path for _, path, _ in lists} - {own_path}:
            assert (await as_attacker("GET", path, params=elsewhere)).status == 400
        usable = {**query, "cursor": mine["next_cursor"]}
        assert (await as_attacker("GET", own_path, params=usable)).status == 200
        assert (await as_victim("GET", their_path, params=stolen)).status == 200


@by_resource
async def test_the_audit_log_shows_nothing_of_another_tenants_rows(
    resource: AnyResource, as_attacker: Ask, as_victim: Ask, victim: World
) -> None:
    row = await create(victim, resource.name)
    changed = victim.body(resource.update, resource.name)
    await as_victim("PATCH", f"{resource.path}/{row}", json=changed)
    await as_victim("DELETE", f"{resource.path}/{row}?hard=true")

    for query in (
        {"entity_id": row},
        {"entity": resource.name, "action": "delete", "entity_id": row},
        {"actor": f"key:{victim.caller.body['api_key']['id']}"},
        {"request_id__contains": "isolation", "entity_id": row},
    ):
        assert rows_in(await as_victim("GET", "/v1/audit", params=query))
        assert rows_in(await as_attacker("GET", "/v1/audit", params=query)) == []
