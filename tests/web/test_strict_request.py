"""Bodies are JSON of the declared type, or refused with the place of each fault."""

from typing import Annotated, Any

import msgspec
import pytest
from litestar import patch, post
from litestar.params import JSONBody
from scratch import serving

from saas.errors import BadRequest, Invalid
from saas.web.json_body import BodyDecoder

JSON = {"Content-Type": "application/json"}


class Step(msgspec.Struct, forbid_unknown_fields=True):
    cost: int


class Thing(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    name: Annotated[str, msgspec.Meta(min_length=2, max_length=5)]
    size: int = 0
    steps: list[Step] = []
    marks: dict[str, int] = {}
    notes: Any = None


Things = Annotated[list[Thing], msgspec.Meta(max_length=2)]


@post("/v1/things")
async def make_thing(data: JSONBody[Thing]) -> Thing:
    return data


@patch("/v1/things")
async def change_thing(data: JSONBody[Thing]) -> Thing:
    return data


@post("/v1/many")
async def make_things(data: JSONBody[Things]) -> int:
    return len(data)


@post("/v1/optional")
async def make_optional(data: JSONBody[Thing | None] = None) -> bool:
    return data is None


ROUTES = [make_thing, change_thing, make_things, make_optional]


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        (b'{"name": "abc", "size": "12"}', [("/size", "wrong_type")]),
        (b'{"name": "abc", "size": true}', [("/size", "wrong_type")]),
        (b'{"name": "abc", "size": 1.5}', [("/size", "wrong_type")]),
        (b"{}", [("/name", "missing_field")]),
        (b'{"name": "a"}', [("/name", "too_short")]),
        (b'{"name": "abcdef"}', [("/name", "too_long")]),
        (b'{"name": "abc", "a/b~c": 1}', [("/a~1b~0c", "unknown_field")]),
        (b'{"name": "abc", "x` - at `$.y": 1}', [("/x` - at `$.y", "unknown_field")]),
        (
            b'{"name": "abc", "steps": [{"cost": 1}, {"cost": "1"}]}',
            [("/steps/1/cost", "wrong_type")],
        ),
        (b'{"name": "abc", "steps": [{"cost": 1, "x": 2}]}', [("/steps/0/x", "unknown_field")]),
        (b'{"name": "abc", "steps": [{}]}', [("/steps/0/cost", "missing_field")]),
        (b'{"name": "abc", "marks": {"k": "v"}}', [("/marks", "wrong_type")]),
        (b"[]", [("", "wrong_type")]),
        (b"null", [("", "wrong_type")]),
        (
            b'{"name": "a", "size": "1", "more": 1}',
            [("/name", "too_short"), ("/size", "wrong_type"), ("/more", "unknown_field")],
        ),
    ],
)
async def test_body_of_another_shape_is_refused_with_each_place(
    body: bytes, faults: list[tuple[str, str]]
) -> None:
    async with serving(ROUTES) as http:
        answer = await http.post("/v1/things", content=body, headers=JSON)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert [(e["pointer"], e["code"]) for e in answer.json()["errors"]] == faults


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b'[{"name": "abc"}, {"name": "a"}]', "/1/name"),
        (b'[{"name": "abc"}, {"name": "abc"}, {"name": "abc"}]', ""),
    ],
)
async def test_list_is_checked_row_by_row_and_as_a_whole(body: bytes, pointer: str) -> None:
    async with serving(ROUTES) as http:
        good = await http.post("/v1/many", content=b'[{"name": "abc"}]', headers=JSON)
        answer = await http.post("/v1/many", content=body, headers=JSON)

    assert good.status_code == 201
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"name": "abc"} x',
        b"\xef\xbb\xbf{}",
        b'{"name": NaN}',
        b'{"name": "\xff\xfe"}',
        b'{"na\xff": 1}',
        rb'{"name": "\ud800"}',
        rb'{"name": "\ud800\ud800"}',
        b'{"name": "a\x00b"}',
        b'{"name": "abc", "notes": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        '{"name": "abc"}'.encode("utf-16"),
    ],
)
async def test_what_is_no_json_is_a_bad_request(body: bytes) -> None:
    async with serving(ROUTES) as http:
        answer = await http.post("/v1/things", content=body, headers=JSON)

    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert answer.json()["detail"].startswith("The body is ")


async def test_missing_body_is_refused_only_where_one_is_needed() -> None:
    async with serving(ROUTES) as http:
        needed = await http.post("/v1/things", headers=JSON)
        optional = await http.post("/v1/optional")
        null = await http.post("/v1/optional", content=b"null", headers=JSON)

    assert (needed.status_code, needed.json()["detail"]) == (
        400,
        "The body is empty. Send a JSON document.",
    )
    assert (optional.status_code, null.status_code) == (201, 201)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (rb'{"name": "a\u0000b"}', "/name"),
        (rb'{"name": "a\\\u0000"}', "/name"),
        (rb'{"name": "abc", "notes": [1, [], {"x": {"k\u0000": 1}}]}', "/notes/2/x/k\0"),
    ],
)
async def test_nul_character_is_refused_with_its_place(body: bytes, pointer: str) -> None:
    async with serving(ROUTES) as http:
        harmless = await http.post("/v1/things", content=rb'{"name": "\\u00"}', headers=JSON)
        letters = await http.post(
            "/v1/things", content=rb'{"name": "abc", "notes": "\\u0000"}', headers=JSON
        )
        answer = await http.post("/v1/things", content=body, headers=JSON)

    assert (harmless.status_code, letters.status_code, answer.status_code) == (201, 201, 422)
    (fault,) = answer.json()["errors"]
    assert (fault["pointer"], fault["code"]) == (pointer, "invalid_text")


@pytest.mark.parametrize(
    "number",
    [
        "9223372036854775808",
        "-9223372036854775809",
        "18446744073709551616",
        "1" + "0" * 4000,
        "1" + "0" * 5000,
    ],
    ids=len,
)
async def test_integer_beyond_64_bits_is_refused(number: str) -> None:
    largest = b'{"name": "abc", "size": 9223372036854775807, "notes": "9223372036854775808"}'
    async with serving(ROUTES) as http:
        good = await http.post("/v1/things", content=largest, headers=JSON)
        answer = await http.post(
            "/v1/things", content=f'{{"name": "abc", "size": {number}}}', headers=JSON
        )

    assert (good.status_code, answer.status_code) == (201, 422)
    (fault,) = answer.json()["errors"]
    assert (fault["pointer"], fault["code"]) == ("/size", "out_of_range")


async def test_last_of_two_equal_names_counts() -> None:
    async with serving(ROUTES) as http:
        answer = await http.post(
            "/v1/things", content=b'{"name": "abc", "name": "abd"}', headers=JSON
        )

    assert answer.json()["name"] == "abd"


@pytest.mark.parametrize(
    ("method", "content_type", "status"),
    [
        ("POST", "application/json", 201),
        ("POST", "Application/JSON; charset=utf-8", 201),
        ("POST", 'application/json;charset="UTF-8"', 201),
        ("POST", "application/json; charset=latin-1", 415),
        ("POST", "application/json; charset=utf-8; charset=utf-16", 415),
        ("POST", "application/vnd.api+json", 415),
        ("POST", "application/merge-patch+json", 415),
        ("POST", "text/plain", 415),
        ("POST", "application/x-www-form-urlencoded", 415),
        ("POST", "", 415),
        ("POST", "application/json, text/plain", 415),
        ("PATCH", "application/merge-patch+json", 200),
        ("PATCH", "application/json", 200),
        ("PATCH", "application/json-patch+json", 415),
    ],
)
async def test_only_json_is_taken_for_json(method: str, content_type: str, status: int) -> None:
    headers = {"Content-Type": content_type}
    async with serving(ROUTES) as http:
        answer = await http.request(
            method, "/v1/things", content=b'{"name": "abc"}', headers=headers
        )

    assert answer.status_code == status


async def test_two_content_types_and_compressed_bodies_are_refused() -> None:
    twice = [("Content-Type", "application/json"), ("Content-Type", "text/plain")]
    async with serving(ROUTES) as http:
        ambiguous = await http.post("/v1/things", content=b'{"name": "abc"}', headers=twice)
        compressed = await http.post(
            "/v1/things", content=b'{"name": "abc"}', headers=JSON | {"Content-Encoding": "gzip"}
        )

    assert (ambiguous.status_code, compressed.status_code) == (415, 415)


def test_decoder_serves_rows_of_a_batch() -> None:
    decoder = BodyDecoder(Thing)

    assert decoder.decode(b'{"name": "abc"}') == Thing(name="abc")
    with pytest.raises(Invalid):
        decoder.decode(b'{"name": 1}')
    with pytest.raises(BadRequest):
        decoder.decode(b"")


@pytest.mark.parametrize(
    "document",
    [
        b"9223372036854775808",
        b" -9223372036854775809",
        b'{"a": 9223372036854775808}',
        b'{"a":9223372036854775808}',
        b'{"a": [1,\n9223372036854775808]}',
        b'[[9223372036854775808], "at 1795329479387123456"]',
        b'{"1795329479387123456": {"b": [true, -9223372036854775809]}}',
    ],
)
def test_a_number_of_more_than_64_bits_is_refused_wherever_it_stands(document: bytes) -> None:
    with pytest.raises(Invalid) as refused:
        BodyDecoder(Any).decode(document)

    assert [fault.code for fault in refused.value.errors] == ["out_of_range"]


@pytest.mark.parametrize(
    "text",
    ["1795329479387123456", "at 1795329479387123456", "[99999999999999999999", ", 9" + 30 * "9"],
)
def test_digits_in_a_text_are_no_number(text: str) -> None:
    document = {text: [text, {"a": -(2**63)}, 2**63 - 1, 0.1234567890123456789]}

    assert BodyDecoder(Any).decode(msgspec.json.encode(document)) == document


async def test_large_body_is_told_its_first_fault_alone_and_no_long_name_in_full() -> None:
    small = {f"field-{number}": 1 for number in range(60)}
    large = {f"field-{number}": 1 for number in range(20_000)}
    async with serving(ROUTES) as http:
        many = await http.post("/v1/things", json=small)
        first = await http.post("/v1/things", json=large)
        long = await http.post("/v1/things", json={"name": "abc", "x" * 9_000: 1})
        longest = await http.post("/v1/things", json={"name": "abc", "x" * 900_000: 1})

    assert [answer.status_code for answer in (many, first, long, longest)] == [422] * 4
    assert len(many.json()["errors"]) == 50
    assert [fault["pointer"] for fault in first.json()["errors"]] == ["/field-0"]
    for answer in (long, longest):
        assert [fault["pointer"] for fault in answer.json()["errors"]] == [f"/{'x' * 200}…"]
