"""Archives that somebody has spoilt: each is refused with what is wrong, and stores nothing."""

import json
from typing import Any
from uuid import uuid4
from zipfile import ZIP_DEFLATED, ZIP_STORED

import httpx
import msgspec
import pytest
from archives import with_lines, with_manifest, with_rows
from spoilt import INVALID, UNREADABLE, repacked

from saas.app import create_app
from saas.settings import Settings


@pytest.fixture(scope="session")
async def original(onboard: Any, http: httpx.AsyncClient, settings: Settings) -> bytes:
    """The archive of a small tenant, which is not in the other installation."""
    tenant = await onboard()
    for number in range(3):
        project = await tenant.create("projects", name=f"Project {number}", budget_cents=2**53 + 1)
        await tenant.create("tasks", project_id=project["id"], title="Plan")
    await tenant.create("tasks", project_id=project["id"], title="Do")
    answer = await http.get(
        f"/v1/admin/tenants/{tenant.tenant_id}/export",
        headers={"Authorization": f"Bearer {settings.platform_key}"},
    )
    return answer.content


@pytest.mark.parametrize("name", UNREADABLE)
async def test_what_is_no_whole_zip_archive_is_malformed(
    name: str, original: bytes, bring: Any, elsewhere: httpx.AsyncClient, there: Any
) -> None:
    before = there.everything()

    refused = await bring(elsewhere, UNREADABLE[name](original))

    assert refused.status_code == 400, refused.text
    assert refused.json()["code"] == "bad_request"
    assert "no whole zip archive" in refused.json()["detail"]
    assert there.everything() == before


@pytest.mark.parametrize("name", INVALID)
async def test_archive_that_is_not_what_it_says_is_refused_by_what_is_wrong(
    name: str, original: bytes, bring: Any, elsewhere: httpx.AsyncClient, there: Any
) -> None:
    spoil, words = INVALID[name]
    spoilt = spoil(original)
    before = there.everything()

    refused = await bring(elsewhere, spoilt)

    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_archive"), refused.text
    assert words in refused.json()["detail"]
    assert refused.headers["content-type"] == "application/problem+json"
    assert there.everything() == before


@pytest.mark.parametrize("ids", ["keep", "new"])
async def test_archive_that_nobody_spoilt_is_taken(
    original: bytes, bring: Any, elsewhere: httpx.AsyncClient, ids: str
) -> None:
    """The control: rewritten by the same means, and packed in both ways."""
    same = with_rows(original, "projects", lambda _: None)

    for compress_type in (ZIP_STORED, ZIP_DEFLATED):
        again = repacked(compress_type=compress_type)(same)
        dry = await bring(elsewhere, again, ids=ids, dry_run="true")
        assert (dry.status_code, dry.json()["verified"]) == (200, True)


@pytest.mark.parametrize(
    ("table", "values", "words"),
    [
        ("projects", {"id": "{0199D3A0-1234-7ABC-8DEF-0123456789AB}"}, "projects.id"),
        ("tasks", {"project_id": 7}, "tasks.project_id"),
        ("audit_log", {"entity_id": "x"}, "audit_log.entity_id"),
        ("audit_log", {"changes": []}, "audit_log.changes"),
        ("audit_log", {"changes": {"old": 1}}, "audit_log.changes"),
    ],
)
async def test_id_that_cannot_be_followed_under_new_ids_is_refused(
    original: bytes,
    bring: Any,
    elsewhere: httpx.AsyncClient,
    there: Any,
    table: str,
    values: dict[str, Any],
    words: str,
) -> None:
    before = there.everything()

    refused = await bring(
        elsewhere, with_rows(original, table, lambda r: r.update(values)), ids="new"
    )

    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_archive")
    assert words in refused.json()["detail"]
    assert there.everything() == before


async def test_rows_are_written_under_the_archives_tenant_whatever_it_names(
    lived_in: Any, original: bytes, bring: Any, http: httpx.AsyncClient, here: Any
) -> None:
    """Ids of another tenant's rows reach nothing of it: they become rows of the new tenant."""
    before = here.of(lived_in.tenant_id)
    ids = [json.loads(row)["id"] for row in before["projects"]]

    def claim(archive: bytes) -> bytes:
        renamed = with_rows(archive, "projects", lambda r: r.update(id=ids[int(r["name"][-1])]))
        unhooked = with_lines(renamed, "tasks", lambda _: [])
        return with_manifest(
            unhooked, lambda m: m["tenant"].update(id=str(uuid4()), slug="claimer")
        )

    answer = await bring(http, claim(original))

    assert answer.status_code == 201, answer.text
    assert here.of(lived_in.tenant_id) == before
    made = here.of(answer.json()["tenant"]["id"])
    assert sorted(json.loads(row)["id"] for row in made["projects"]) == sorted(ids)


async def test_body_of_another_kind_or_size_is_refused(
    original: bytes,
    http: httpx.AsyncClient,
    settings: Settings,
    elsewhere_settings: Settings,
    serve: Any,
    bring: Any,
    there: Any,
) -> None:
    path = "/v1/admin/tenants/import"
    key = {"Authorization": f"Bearer {settings.platform_key}"}
    before = there.everything()
    small = msgspec.structs.replace(elsewhere_settings, max_archive_bytes=len(original) - 1)

    for kind in ({}, {"Content-Type": "application/json"}, {"Content-Type": "text/csv"}):
        refused = await http.post(path, content=original, headers={**key, **kind})
        assert (refused.status_code, refused.json()["code"]) == (415, "unsupported_media_type")
    packed_again = {"Content-Type": "application/zip", "Content-Encoding": "gzip"}
    assert (
        await http.post(path, content=original, headers={**key, **packed_again})
    ).status_code == 415
    async with serve(create_app(small)) as client:
        for sent in (original, _pieces(original)):
            headers = {**key, "Content-Type": "application/zip"}
            refused = await client.post(path, content=sent, headers=headers)
            assert (refused.status_code, refused.json()["code"]) == (413, "content_too_large")
        assert (await bring(client, original[:-1])).status_code == 400
    assert there.everything() == before


async def _pieces(content: bytes) -> Any:
    for at in range(0, len(content), 1_000):
        yield content[at : at + 1_000]
