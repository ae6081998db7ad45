"""Files that are sent to be imported, as a way to another tenant's rows."""

import asyncio
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from isolation.conftest import Ask
from isolation.raw import Raw, rows_of
from isolation.surface import RESOURCE_BY_NAME
from isolation.worlds import Answer, World

by_resource = pytest.mark.parametrize("name", list(RESOURCE_BY_NAME))
CSV = {"Content-Type": "text/csv"}


async def outcome_of(ask: Ask, name: str, file: str, query: str = "") -> tuple[Any, Answer]:
    """What became of a file: the counts of its import, and its errors."""
    sent = await ask("POST", f"/v1/{name}/import?again=true{query}", content=file, headers=CSV)
    assert sent.status == 202, sent.body
    path = f"/v1/imports/{msgspec.json.decode(sent.body)['id']}"
    for _ in range(1_000):
        record = msgspec.json.decode((await ask("GET", path)).body)
        if record["status"] != "running":
            break
        await asyncio.sleep(0.01)
    kept = {n: record[n] for n in ("status", "inserted", "updated", "skipped", "failed")}
    return kept, await ask("GET", f"{path}/errors")


@by_resource
async def test_a_parent_of_another_tenant_in_a_file_is_as_absent_as_none(
    name: str, as_attacker: Ask, attacker: World, victim: World, raw: Raw
) -> None:
    references = RESOURCE_BY_NAME[name].repository.operations.references
    before = rows_of(raw, victim.tenant_id)

    for column, parent in references.items():
        body = attacker.body(RESOURCE_BY_NAME[name].create, name)

        async def attack(id: str, *, body: Any = body, column: str = column) -> Any:
            file = ",".join(body) + "\n" + ",".join(str({**body, column: id}[c]) for c in body)
            kept, errors = await outcome_of(as_attacker, name, file)
            return kept, errors.without(id)

        absent = await attack(str(uuid4()))
        assert absent[0]["failed"] == 1
        for id in victim.targets:
            assert await attack(id) == absent
        own = await attack(attacker.parents[parent])
        assert own[0]["inserted"] == 1

    assert rows_of(raw, victim.tenant_id) == before


@by_resource
@pytest.mark.parametrize("on_conflict", ["update", "skip", "error"])
async def test_rows_of_another_tenant_are_in_no_files_way(
    name: str, on_conflict: str, as_attacker: Ask, attacker: World, victim: World, raw: Raw
) -> None:
    if not RESOURCE_BY_NAME[name].repository.natural_key:
        pytest.skip("no natural key")
    # A row of the victim and one of the attacker with the same texts.
    body = attacker.body(RESOURCE_BY_NAME[name].create, name)
    parents = {c: victim.parents[p] for c, p in _parents(name).items() if c in body}
    theirs = await victim.caller.create(name, **{**body, **parents})
    before = rows_of(raw, victim.tenant_id)
    file = ",".join(body) + "\n" + ",".join(str(value) for value in body.values())

    kept, _ = await outcome_of(as_attacker, name, file, f"&on_conflict={on_conflict}")

    # As if nobody had a row with this key.
    assert (kept["inserted"], kept["failed"]) == (1, 0)
    assert theirs["id"] in str(before)
    assert rows_of(raw, victim.tenant_id) == before


def _parents(name: str) -> dict[str, str]:
    references: dict[str, str] = RESOURCE_BY_NAME[name].repository.operations.references
    return references


@by_resource
async def test_the_same_file_in_two_tenants_is_two_files(
    name: str, as_attacker: Ask, as_victim: Ask, attacker: World, victim: World
) -> None:
    file = victim.file(name)
    path = f"/v1/{name}/import"
    theirs = await as_victim("POST", path, content=file, headers=CSV)
    theirs_again = await as_victim("POST", path, content=file, headers=CSV)
    assert _id(theirs) == _id(theirs_again)

    ours = await as_attacker("POST", path, content=file, headers=CSV)
    ours_again = await as_attacker("POST", path, content=file, headers=CSV)

    assert _id(ours) == _id(ours_again) != _id(theirs)
    assert _id(theirs) not in (await as_attacker("GET", "/v1/imports")).body.decode()


async def test_an_import_of_another_tenant_is_neither_seen_nor_resumed(
    as_attacker: Ask, victim: World, raw: Raw
) -> None:
    before = rows_of(raw, victim.tenant_id)
    absent = uuid4()

    for id in victim.ids["imports"]:
        for method, rest, options in (
            ("GET", "", {}),
            ("GET", "/errors", {}),
            ("GET", "/errors?format=csv", {}),
            ("POST", "/resume", {}),
            ("POST", "/resume", {"content": "name\nOne\n", "headers": CSV}),
        ):
            theirs = await as_attacker(method, f"/v1/imports/{id}{rest}", **options)
            none = await as_attacker(method, f"/v1/imports/{absent}{rest}", **options)
            assert theirs == none
            assert theirs.status == 404

    assert rows_of(raw, victim.tenant_id) == before


async def test_filters_find_no_error_of_another_tenant(
    as_attacker: Ask, attacker: World, victim: World
) -> None:
    own = f"/v1/imports/{attacker.others['imports']}/errors"
    for query in (f"value__icontains={victim.marker}", "or=(line.gte.0,line.lt.0)"):
        answer = await as_attacker("GET", f"{own}?{query}")
        assert answer.status == 200
        assert victim.shown_in(answer) == []


def _id(answer: Answer) -> str:
    assert answer.status == 202, answer.body
    return str(msgspec.json.decode(answer.body)["id"])
