"""`POST /v1/R/import` and what becomes of the file."""

import json
from typing import Any
from uuid import uuid4

import pytest
from importing import JSON_LINES, bad_rows_of, counts, ended, errors_of, imported, names_of, send
from refusals import assert_refused


async def test_good_rows_go_in_and_bad_ones_are_told_with_their_line(tenant: Any) -> None:
    file = (
        "name,description,is_active,budget_cents\r\n"
        "Rocket,To the moon,true,100\r\n"
        "R,too short,true,1\r\n"
        "Anvil,,FALSE,\r\n"
        "Glue,,true,twelve\r\n"
        ",nameless,true,1\r\n"
        "Rocket,again,true,1\r\n"
        "Wide,1,true,1,1\r\n"
    )

    answer = await send(tenant, file)

    record = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/imports/{record['id']}"
    assert record["status"] == "running"
    record = await ended(tenant, record["id"])
    assert counts(record) == (7, 2, 0, 0, 5)
    assert record["status"] == "done"
    assert record["finished_at"] >= record["started_at"]
    assert (record["resource"], record["format"]) == ("projects", "csv")
    assert (record["mode"], record["on_conflict"], record["dry_run"]) == ("partial", "error", False)
    assert await errors_of(tenant, record["id"]) == [
        {
            "line": 3,
            "column": "name",
            "value": "R",
            "code": "too_short",
            "reason": "Expected `str` of length >= 2.",
        },
        {
            "line": 5,
            "column": "budget_cents",
            "value": "twelve",
            "code": "wrong_type",
            "reason": "Expected `int | null`, got `str`.",
        },
        {
            "line": 6,
            "column": "name",
            "value": None,
            "code": "missing_field",
            "reason": "The field is missing.",
        },
        {
            "line": 7,
            "column": "name",
            "value": "Rocket",
            "code": "taken",
            "reason": "A row with this name exists already.",
        },
        {
            "line": 8,
            "column": None,
            "value": "Wide",
            "code": "wrong_cell_count",
            "reason": "The row has 5 cells, the header has 4.",
        },
    ]
    rows = (await tenant.get("/v1/projects?sort=name")).json()["items"]
    assert [(r["name"], r["description"], r["is_active"], r["budget_cents"]) for r in rows] == [
        ("Anvil", None, False, None),
        ("Rocket", "To the moon", True, 100),
    ]


async def test_what_would_have_been_taken_is_told(tenant: Any) -> None:
    project = await tenant.create("projects", name="Home")
    file = f"project_id,title,status\n{project['id']},Paint,lost\n{project['id']},  ,todo\n"

    record = await imported(tenant, file, resource="tasks")

    assert [row["reason"] for row in await errors_of(tenant, record["id"])] == [
        "Expected one of `doing`, `done`, `todo`.",
        "Not only blanks.",
    ]


async def test_bad_rows_come_back_as_a_file_and_go_in_once_corrected(tenant: Any) -> None:
    record = await imported(tenant, "name,budget_cents\nOne,x\n'=1+1,2x\nGood,1\n=2+2,-5\nQ\n")

    file = await bad_rows_of(tenant, record["id"])

    assert file.splitlines() == [
        "name,budget_cents,reason",
        'One,x,"budget_cents: Expected `int | null`, got `str`."',
        '\'=1+1,2x,"budget_cents: Expected `int | null`, got `str`."',
        'Q,,"The row has 1 cells, the header has 2."',
    ]
    corrected = file.replace(",x,", ",1,").replace(",2x,", ",2,").replace("Q,,", "Quill,,")
    assert counts(await imported(tenant, corrected)) == (3, 3, 0, 0, 0)
    assert await names_of(tenant) == ["=1+1", "=2+2", "Good", "One", "Quill"]


async def test_no_column_of_the_file_of_bad_rows_is_a_formula(tenant: Any) -> None:
    """Whoever opens it is not who has named the columns."""
    mapped = json.dumps({"=1+1": None, "-Budget": "budget_cents"})
    record = await imported(tenant, "name,=1+1,-Budget\nOne,,x\n", map=mapped)

    file = await bad_rows_of(tenant, record["id"])

    assert file.splitlines()[0] == "name,'=1+1,'-Budget,reason"
    again = await imported(tenant, file + "\n", map=mapped)
    assert await bad_rows_of(tenant, again["id"]) == file
    corrected = file.replace("One,,x", "One,,7")
    assert counts(await imported(tenant, corrected, map=mapped)) == (1, 1, 0, 0, 0)


async def test_json_lines_are_typed_like_a_create(tenant: Any) -> None:
    file = b'{"name": "One", "budget_cents": 1}\n\n{"name": "Two", "budget_cents": "2"}\n{"na\n'

    record = await imported(tenant, file, headers=JSON_LINES)

    assert counts(record) == (3, 1, 0, 0, 2)
    assert [
        (e["line"], e["column"], e["value"], e["code"])
        for e in await errors_of(tenant, record["id"])
    ] == [(3, "budget_cents", "2", "wrong_type"), (4, None, '{"na', "malformed")]
    bad = (await bad_rows_of(tenant, record["id"])).splitlines()
    assert bad[0] == "name,description,is_active,budget_cents,reason"
    assert bad[1].startswith("Two,,,2,")
    assert bad[2].startswith('"{""na",,,,')


async def test_a_file_comes_as_a_stream(tenant: Any) -> None:
    # Cut inside a character.
    row = "One,Gr\u00fcn\n".encode()

    async def body() -> Any:
        yield b"name,desc"
        yield b"ription\n" + row[:7]
        yield row[7:]
        for number in range(3_000):
            yield f"Project {number},{'x' * 100}\n".encode()

    record = await imported(tenant, body())

    assert counts(record) == (3_001, 3_001, 0, 0, 0)
    assert record["bytes_received"] > 256 * 1024


async def test_rows_that_are_there_already_are_updated_or_skipped(tenant: Any) -> None:
    await imported(tenant, "name,description,budget_cents\nOne,first,1\nTwo,second,2\n")

    skipped = await imported(tenant, "name,budget_cents\nOne,5\nNew,6\n", on_conflict="skip")
    updated = await imported(
        tenant, "name,budget_cents\nOne,7\nTwo,2\nNewer,8\n", on_conflict="update"
    )

    assert counts(skipped) == (2, 1, 0, 1, 0)
    assert counts(updated) == (3, 1, 1, 1, 0)
    rows = (await tenant.get("/v1/projects?sort=name&name__in=One,Two")).json()["items"]
    assert [(r["description"], r["budget_cents"], r["version"]) for r in rows] == [
        ("first", 7, 2),
        ("second", 2, 1),
    ]


async def test_atomic_stores_all_rows_or_none(tenant: Any) -> None:
    failed = await imported(tenant, "name\nOne\nT\nThree\n\xe9\n", mode="atomic")

    assert (failed["status"], counts(failed)) == ("failed", (4, 0, 0, 0, 2))
    assert failed["detail"].startswith("2 of 4 rows are refused")
    assert [e["line"] for e in await errors_of(tenant, failed["id"])] == [3, 5]
    assert await names_of(tenant) == []

    done = await imported(tenant, "name\nOne\nTwo\n", mode="atomic")
    assert (done["status"], counts(done)) == ("done", (2, 2, 0, 0, 0))
    assert await names_of(tenant) == ["One", "Two"]


@pytest.mark.parametrize("mode", ["partial", "atomic"])
async def test_a_dry_run_tells_the_same_and_stores_nothing(tenant: Any, mode: str) -> None:
    await imported(tenant, "name,budget_cents\nOne,1\nTwo,2\n")
    file = "name,budget_cents\nOne,5\nTwo,2\nThree,x\nFour,4\nFour,5\n"
    options = {"mode": mode, "on_conflict": "update"}

    tried = [await imported(tenant, file, dry_run="true", **options) for _ in range(2)]
    before = await names_of(tenant)
    done = await imported(tenant, file, **options)

    assert before == ["One", "Two"]
    assert tried[0]["id"] != tried[1]["id"]
    for trial in tried:
        assert (trial["status"], counts(trial)) == (done["status"], counts(done))
        assert trial["dry_run"]
        assert await errors_of(tenant, trial["id"]) == await errors_of(tenant, done["id"])


async def test_the_same_file_is_imported_once(tenant: Any, other_tenant: Any) -> None:
    file = "name\nOne\nTwo\n"
    first = await imported(tenant, file)

    again = await send(tenant, file)
    otherwise = await imported(tenant, file, on_conflict="update")
    repeated = await imported(tenant, file, on_conflict="update", again="true")
    elsewhere = await imported(other_tenant, file)

    assert (again.status_code, again.json()) == (202, first)
    assert counts(otherwise) == counts(repeated) == (2, 0, 0, 2, 0)
    assert len({first["id"], otherwise["id"], repeated["id"], elsewhere["id"]}) == 4
    assert counts(elsewhere) == (2, 2, 0, 0, 0)
    assert (await tenant.get("/v1/imports?include_total=true")).json()["total"] == 3


async def test_a_file_that_failed_may_be_sent_again(tenant: Any) -> None:
    file = f"project_id,title\n{(parent := str(uuid4()))},One\n"
    failed = await imported(tenant, file, "tasks", mode="atomic")

    again = await imported(tenant, file, "tasks", mode="atomic")

    assert failed["status"] == again["status"] == "failed"
    assert failed["id"] != again["id"]
    assert (await errors_of(tenant, again["id"]))[0]["value"] == parent


@pytest.mark.parametrize(
    ("body", "query", "status", "code"),
    [
        ("", {}, 422, "invalid"),
        ("nmae\nOne\n", {}, 422, "invalid"),
        ('"name\nOne\n', {}, 422, "invalid"),
        ("name,name\nOne,Two\n", {}, 422, "invalid"),
        ("name\nOne\n", {"on_conflict": "replace"}, 400, "bad_request"),
        ("name\nOne\n", {"mode": "half"}, 400, "bad_request"),
        ("name\nOne\n", {"dry_run": "yes"}, 400, "bad_request"),
        ("name\nOne\n", {"delimiter": ",,"}, 400, "bad_request"),
        ("name\nOne\n", {"map": "name"}, 400, "bad_request"),
        ("name\nOne\n", {"map": '{"Title": "name"}'}, 422, "invalid"),
        ("name\nOne\n", {"header": "false"}, 400, "bad_request"),
    ],
)
async def test_a_file_that_cannot_be_read_is_refused_at_once(
    tenant: Any, body: str, query: Any, status: int, code: str
) -> None:
    assert_refused(await send(tenant, body, **query), status, code)
    assert (await tenant.get("/v1/imports")).json()["items"] == []


async def test_a_header_that_is_wrong_names_the_columns(tenant: Any) -> None:
    refused = (await send(tenant, "nmae,tenant_id,budget_cents\n")).json()["errors"]

    assert [(error["pointer"], error["code"]) for error in refused] == [
        ("/nmae", "unknown_field"),
        ("/tenant_id", "unknown_field"),
        ("/name", "missing_field"),
    ]
    assert "There are: name, description" in refused[0]["message"]


async def test_a_header_of_very_many_columns_is_told_some_faults_at_once(tenant: Any) -> None:
    """Where each is looked for among the others, this takes minutes."""
    twice = await send(tenant, "x," * 120_000 + "x\nOne\n", map='{"x": "name"}')
    unknown = await send(tenant, ",".join(str(n) for n in range(20_000)) + "\nOne\n")

    (error,) = assert_refused(twice, 422, "invalid")["errors"]
    assert (error["pointer"], error["code"]) == ("/x", "duplicate")
    assert len(assert_refused(unknown, 422, "invalid")["errors"]) == 50


async def test_a_header_in_another_encoding_is_told_so(tenant: Any) -> None:
    file = f"name,Größe~{'x' * 300}\nOne,7\n".encode("windows-1252")
    mapped = json.dumps({file.decode("windows-1252").partition("\n")[0][5:]: None})

    answer = await send(tenant, file)

    (error,) = assert_refused(answer, 422, "invalid")["errors"]
    assert (error["pointer"][:9], error["code"]) == ("/Gr\ufffd\ufffde~0x", "invalid_encoding")
    assert len(error["pointer"]) < 250
    assert "charset" in error["message"]
    told = {"Content-Type": "text/csv; charset=windows-1252"}
    assert (await imported(tenant, file, headers=told, map=mapped))["inserted"] == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/json"},
        {"Content-Type": "text/csv; charset=ebcdic"},
        {"Content-Type": "application/x-ndjson; charset=latin1"},
        {"Content-Encoding": "gzip"},
    ],
)
async def test_other_kinds_of_body_are_refused(tenant: Any, headers: Any) -> None:
    assert_refused(
        await send(tenant, "name\nOne\n", headers=headers), 415, "unsupported_media_type"
    )


async def test_a_long_run_of_spaces_in_a_header_is_read_at_once(tenant: Any) -> None:
    """Where two parts of a pattern may share it, a million would take an hour."""
    for name, value in (("import", "text/csv"), ("batch", "application/json")):
        spaced = {"Content-Type": f"{value}{' ' * 1_000_000}x"}
        answer = await tenant.post(f"/v1/projects/{name}", content=b"name\n", headers=spaced)
        assert_refused(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "spelling",
    ["TEXT/CSV", " text/csv ; ", 'text/csv ;charset = "UTF-8" ; header=present', "text/csv;"],
)
async def test_a_media_type_has_several_spellings(tenant: Any, spelling: str) -> None:
    answer = await send(tenant, "name\nOne\n", headers={"Content-Type": spelling})

    assert answer.status_code == 202, answer.text


async def test_a_file_says_what_it_is_written_in(tenant: Any) -> None:
    latin = {"Content-Type": "text/csv; charset=iso-8859-1"}
    for file, headers in (
        ("name;description\nÄ1;x,y\n".encode("utf-16"), {}),
        ("name\tdescription\nÄ2\tx,y\n".encode("iso-8859-1"), latin),
        ("\ufeffname|description\nÄ3|x,y\n".encode(), {}),
    ):
        assert (await imported(tenant, file, headers=headers))["inserted"] == 1
    mapped = await imported(
        tenant, "Titel:Notiz\nÄ4:weg\n", delimiter=":", map='{"Titel": "name", "Notiz": null}'
    )

    assert mapped["inserted"] == 1
    assert await names_of(tenant) == ["Ä1", "Ä2", "Ä3", "Ä4"]


async def test_the_document_names_the_files_that_go_in_and_come_out(http: Any) -> None:
    paths = (await http.get("/openapi.json")).json()["paths"]

    imports, errors = paths["/v1/projects/import"]["post"], paths["/v1/imports/{id}/errors"]["get"]
    exports = paths["/v1/projects/export"]["get"]
    assert set(imports["requestBody"]["content"]) == {"text/csv", "application/x-ndjson"}
    assert set(exports["responses"]["200"]["content"]) == {"text/csv", "application/x-ndjson"}
    assert set(errors["responses"]["200"]["content"]) == {"application/json", "text/csv"}
