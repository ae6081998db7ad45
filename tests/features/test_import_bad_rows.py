"""Files that are sent for their refused rows: too many of them, and such as no reader can hold."""

from typing import Any

import pytest
from importing import JSON_LINES, bad_rows_of, counts, imported, names_of
from refusals import assert_refused

from saas.db.imports import errors, upload

MOST = 20


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "MOST_KEPT", MOST)
    monkeypatch.setattr(upload, "PIECE_BYTES", 100)


@pytest.mark.parametrize("options", [{}, {"mode": "atomic"}, {"dry_run": "true"}])
async def test_import_with_too_many_refused_rows_is_given_up(
    tenant: Any, in_tenant: Any, few: None, options: Any
) -> None:
    file = "name\nGood one\n" + "a\n" * 500 + "Good, too\n"

    record = await imported(tenant, file, **options)

    assert record["status"] == "failed"
    assert "the rest is not read" in record["detail"]
    # Up to the end of the piece with the last one.
    assert MOST <= record["failed"] < MOST + 50
    assert await names_of(tenant) == ([] if options else ["Good one"])
    assert len((await bad_rows_of(tenant, record["id"])).splitlines()) == 1 + record["failed"]
    assert in_tenant(tenant, "SELECT count(*) FROM import_chunks") == [(0,)]
    resume = await tenant.post(f"/v1/imports/{record['id']}/resume")
    assert_refused(resume, 409, "conflict")


async def test_import_whose_last_piece_has_the_last_refused_row_is_done(
    tenant: Any, few: None
) -> None:
    record = await imported(tenant, "name\n" + "a\n" * MOST)

    assert (record["status"], counts(record)) == ("done", (MOST, 0, 0, 0, MOST))


async def test_row_that_is_nested_too_deeply_comes_back_as_it_was_sent(tenant: Any) -> None:
    deep = '{"name": ' + "[" * 100_000 + "\n"
    record = await imported(tenant, deep + '{"name": 1}\n', headers=JSON_LINES)
    assert counts(record) == (2, 0, 0, 0, 2)

    head, first, second = (await bad_rows_of(tenant, record["id"])).splitlines()

    assert head.startswith("name,")
    assert first.startswith('"{""name"": [[[[')
    assert second.startswith("1,")
