"""A refusal tells what would have been taken, not only what was given."""

from typing import Annotated, Any, Literal
from uuid import uuid4

import pytest
from msgspec import Meta, Struct

from saas.errors import Invalid
from saas.web.json_body import BodyDecoder

JSON = {"Content-Type": "application/json"}
OPS = "Expected one of `create`, `upsert`, `update`, `delete`, `restore`."
BLANK = "Not only blanks."


def task(**values: Any) -> dict[str, Any]:
    return {"project_id": str(uuid4()), "title": "Paint", **values}


def create(**values: Any) -> dict[str, Any]:
    return {"op": "create", "data": task(**values)}


@pytest.mark.parametrize(
    ("path", "body", "pointer", "message"),
    [
        ("tasks", task(status="lost"), "/status", "Expected one of `doing`, `done`, `todo`."),
        ("tasks", task(title=" \t"), "/title", BLANK),
        (
            "tasks",
            task(version=1),
            "/version",
            "There is no such field. Allowed: `project_id`, `title`, `status`, `priority`,"
            " `due_on`, `assignee_id`.",
        ),
        ("projects", {"name": "Home", "tasks": [{"title": "  "}]}, "/tasks/0/title", BLANK),
        ("tasks/batch", {"items": [{"op": "merge"}]}, "/items/0/op", OPS),
        ("tasks/batch", {"items": [create(title="  ")]}, "/items/0/data/title", BLANK),
        (
            "tasks/batch",
            {"items": [create(), create(status=None)]},
            "/items/1/data/status",
            "Expected `str`, got `null`.",
        ),
        (
            "tasks/batch",
            {"items": [create()], "mode": "most"},
            "/mode",
            "Expected one of `atomic`, `partial`.",
        ),
        (
            "invitations",
            {"email": "nobody", "role": "member"},
            "/email",
            "An email address: a name, @ and a domain, without blanks.",
        ),
    ],
)
async def test_message_names_what_is_taken(tenant, path, body, pointer, message):
    answer = await tenant.post(f"/v1/{path}", json=body)

    assert answer.status_code == 422
    assert [(e["pointer"], e["message"]) for e in answer.json()["errors"]] == [(pointer, message)]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("projects", b'{"name": 1,,,'),
        ("projects", b'{"name": 1'),
        ("projects/batch", b'{"mode": "partial", "items": [{"op": "create", "data": {"name": 1}},'),
        ("projects/batch", b'{"items": 5, "mode": '),
    ],
)
async def test_what_breaks_off_behind_a_fault_is_no_json(tenant, path, body):
    answer = await tenant("POST", f"/v1/{path}", content=body, headers=JSON)

    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert "no valid JSON" in answer.json()["detail"]


async def test_half_of_a_surrogate_pair_is_not_told_as_a_body_that_breaks_off(tenant):
    body = rb'{"name": "ab\ud800"}'

    answer = await tenant("POST", "/v1/projects", content=body, headers=JSON)

    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert "surrogate" in answer.json()["detail"]


class Undescribed(Struct):
    code: Annotated[str, Meta(pattern="^[0-9]$")] | None = None
    size: Literal[tuple(range(60))] = 0  # type: ignore[valid-type]  # a long list
    kinds: dict[str, Literal["a"]] = {}


@pytest.mark.parametrize(
    ("body", "pointer", "code", "message"),
    [
        (b'{"code": "x"}', "/code", "wrong_pattern", "Expected `str` matching regex '^[0-9]$'."),
        (b'{"size": 60}', "/size", "unknown_value", "Invalid enum value 60."),
        (b'{"kinds": {"k": "b"}}', "/kinds", "unknown_value", "Invalid enum value 'b'."),
    ],
)
def test_where_the_type_says_nothing_short_the_given_is_told(body, pointer, code, message):
    with pytest.raises(Invalid) as refusal:
        BodyDecoder(Undescribed).decode(body)

    assert [tuple(fault) for fault in refusal.value.errors] == [(pointer, code, message)]
