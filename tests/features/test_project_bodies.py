"""Bodies are strict: what is not exactly as declared is refused, and nothing is stored."""

import json

import pytest
from refusals import assert_refused

JSON = {"Content-Type": "application/json"}
PROTECTED = (
    "tenant_id",
    "id",
    "created_at",
    "created_by",
    "updated_at",
    "updated_by",
    "deleted_at",
    "deleted_by",
)
INVALID = [
    pytest.param({"name": 12}, {"/name": "wrong_type"}, id="number for text"),
    pytest.param({"name": "R"}, {"/name": "too_short"}, id="one character"),
    pytest.param({"name": "R" * 121}, {"/name": "too_long"}, id="121 characters"),
    pytest.param({"name": "a\0b"}, {"/name": "invalid_text"}, id="NUL"),
    pytest.param({"description": "d" * 5_001}, {"/description": "too_long"}, id="5,001"),
    pytest.param({"description": "\0"}, {"/description": "invalid_text"}, id="only NUL"),
    pytest.param({"description": ["x"]}, {"/description": "wrong_type"}, id="list for text"),
    pytest.param({"is_active": "true"}, {"/is_active": "wrong_type"}, id="text for boolean"),
    pytest.param({"is_active": 1}, {"/is_active": "wrong_type"}, id="number for boolean"),
    pytest.param({"budget_cents": "12"}, {"/budget_cents": "wrong_type"}, id="text for number"),
    pytest.param({"budget_cents": True}, {"/budget_cents": "wrong_type"}, id="boolean for number"),
    pytest.param({"budget_cents": 1.5}, {"/budget_cents": "wrong_type"}, id="fraction"),
    pytest.param({"budget_cents": 2**63}, {"/budget_cents": "out_of_range"}, id="2**63"),
    pytest.param({"budget_cents": -(2**63) - 1}, {"/budget_cents": "out_of_range"}, id="-2**63-1"),
    pytest.param({"budget_cents": 10**400}, {"/budget_cents": "out_of_range"}, id="401 digits"),
    pytest.param({"colour": "red"}, {"/colour": "unknown_field"}, id="unknown field"),
    pytest.param({"a/b~c": 1}, {"/a~1b~0c": "unknown_field"}, id="pointer with escapes"),
    *(pytest.param({f: None}, {f"/{f}": "unknown_field"}, id=f) for f in PROTECTED),
]


@pytest.mark.parametrize(("change", "faults"), INVALID)
async def test_invalid_field_is_refused_with_its_pointer(tenant, change, faults):
    row = await tenant.create("projects", name="Rocket")

    created = await tenant.post("/v1/projects", {"name": "Anvil"} | change)
    updated = await tenant.patch(f"/v1/projects/{row['id']}", change)

    for refused in (created, updated):
        assert_refused(refused, 422, "invalid", faults)
    assert (await tenant.get("/v1/projects")).json()["items"] == [row]


async def test_longest_and_largest_values_are_stored(tenant):
    values = {"name": "ä" * 120, "description": "🚀" * 5_000, "budget_cents": 2**63 - 1}

    row = await tenant.create("projects", **values)

    assert values.items() <= row.items()


async def test_every_wrong_field_is_told_at_once(tenant):
    body = {"is_active": "yes", "budget_cents": 2**63, "colour": "red", "version": 1}

    refused = await tenant.post("/v1/projects", body)

    assert_refused(
        refused,
        422,
        "invalid",
        {
            "/name": "missing_field",
            "/is_active": "wrong_type",
            "/budget_cents": "out_of_range",
            "/colour": "unknown_field",
            "/version": "unknown_field",
        },
    )


@pytest.mark.parametrize("body", [None, [], [{"name": "Rocket"}], "Rocket", 12, True])
async def test_body_that_is_no_object_is_refused(tenant, body):
    row = await tenant.create("projects", name="Rocket")
    content = json.dumps(body)

    created = await tenant("POST", "/v1/projects", content=content, headers=JSON)
    updated = await tenant("PATCH", f"/v1/projects/{row['id']}", content=content, headers=JSON)

    for refused in (created, updated):
        assert_refused(refused, 422, "invalid", {"": "wrong_type"})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"name": "Rocket",}',
        b"{'name': 'Rocket'}",
        b'{"name": "Rocket"} {}',
        b'{"name": "Rocket", "budget_cents": NaN}',
        b'{"name": "Rock\xff"}',
        b'{"name": "Rock\x00et"}',
        b'\xef\xbb\xbf{"name": "Rocket"}',
        '{"name": "Rocket"}'.encode("utf-16"),
    ],
)
async def test_malformed_json_is_refused(tenant, content):
    refused = await tenant("POST", "/v1/projects", content=content, headers=JSON)

    assert_refused(refused, 400, "bad_request")
    assert (await tenant.get("/v1/projects")).json()["items"] == []


async def test_deeply_nested_json_is_refused(tenant):
    nested = b'{"name": "Rocket", "colour": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"

    refused = await tenant("POST", "/v1/projects", content=nested, headers=JSON)

    assert refused.status_code in (400, 422)
    assert_refused(refused, refused.status_code, refused.json()["code"])


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": ""},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/jsonp"},
        {"Content-Type": "application/json; charset=utf-16"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
)
async def test_body_that_is_not_declared_as_json_is_refused(tenant, headers):
    content = b'{"name": "Rocket"}'

    refused = await tenant("POST", "/v1/projects", content=content, headers=headers)
    declared = {"Content-Type": "Application/JSON; charset=UTF-8"}
    taken = await tenant("POST", "/v1/projects", content=content, headers=declared)

    assert_refused(refused, 415, "unsupported_media_type")
    assert taken.status_code == 201


@pytest.mark.parametrize("is_streamed", [False, True])
async def test_body_beyond_the_limit_is_refused(tenant, settings, is_streamed):
    frame = len(b'{"name":""}')
    too_large = b'{"name":"' + b"x" * (settings.max_body_bytes - frame + 1) + b'"}'

    async def in_pieces(content):
        for start in range(0, len(content), 1_000_000):
            yield content[start : start + 1_000_000]

    def sent(content):
        return in_pieces(content) if is_streamed else content

    refused = await tenant("POST", "/v1/projects", content=sent(too_large), headers=JSON)
    at_limit = too_large.replace(b"x", b"", 1)
    read = await tenant("POST", "/v1/projects", content=sent(at_limit), headers=JSON)

    assert_refused(refused, 413, "content_too_large")
    assert_refused(read, 422, "invalid", {"/name": "too_long"})
