"""The commands about a tenant's life, as an operator types them, on the suite's database."""

import hashlib
import json
import re
import shlex
from pathlib import Path

import pytest
from purges import id_of


@pytest.fixture
def answer(saas):
    """What a command that did its work has printed."""

    async def run(*arguments):
        return (await saas(*arguments)).answer

    return run


@pytest.fixture
def refusal(saas):
    """What a command that refused has said: one line."""

    async def run(*arguments):
        return (await saas(*arguments)).refusal

    return run


@pytest.fixture
def slug(tenant):
    return tenant.body["tenant"]["slug"]


async def test_tenant_is_shown_by_slug_or_id(answer, refusal, operator, tenant, slug):
    shown = json.loads(await answer("tenant", "show", slug, "--json"))

    assert shown == (await operator.get(f"/v1/admin/tenants/{tenant.tenant_id}")).json()
    assert json.loads(await answer("tenant", "show", tenant.tenant_id, "--json")) == shown
    assert slug in await answer("tenant", "show", slug)
    assert await refusal("tenant", "show", "no-such") == "There is no tenant no-such."
    absent = "01a1fd84-b89a-775a-92f8-e3c2b3437621"
    assert await refusal("tenant", "show", absent) == f"There is no tenant {absent}."


async def test_tenant_goes_through_its_life(
    answer, refusal, saas, tenant, slug, rewind, rows_of, status_of
):
    planned = json.loads(await answer("tenant", "set-plan", slug, "pro", "--json"))
    suspended = json.loads(await answer("tenant", "suspend", slug, "--json"))
    locked_out = await status_of(tenant.key)
    resumed = json.loads(await answer("tenant", "resume", slug, "--json"))
    said = await answer("tenant", "delete", slug, "--grace-days", "2")
    undone = json.loads(await answer("tenant", "resume", slug, "--json"))
    deleted = json.loads(await answer("tenant", "delete", slug, "--json"))

    assert (planned["plan"], planned["updated_by"]) == ("pro", "platform:cli")
    assert (suspended["status"], locked_out) == ("suspended", 403)
    assert resumed["status"] == undone["status"] == "active"
    assert f"saas tenant resume {slug}" in said
    assert deleted["status"] == "deleting"
    assert await status_of(tenant.key) == 401
    assert "grace period of this tenant ends at" in await refusal("tenant", "purge", slug)
    early = await refusal("tenant", "certificate", slug)
    assert early == f"There is no certificate of tenant {slug}, which is deleting."

    rewind(tenant)
    assert "The grace period is over" in await refusal("tenant", "resume", slug)
    issued = json.loads(await answer("tenant", "purge", slug, "--json"))
    assert set(rows_of(tenant).values()) == {0}
    canonical = json.dumps(issued["document"], sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(canonical.encode()).hexdigest() == issued["digest"]
    assert json.loads(await answer("tenant", "certificate", slug, "--json")) == issued
    table = await answer("tenant", "certificate", slug)
    assert issued["digest"] in table
    assert "audit_log" in table
    nobody = await refusal("token", "--tenant", slug)
    assert nobody == f"There is no active owner of tenant {slug}: give --subject."


async def test_certificate_that_somebody_has_changed_is_not_believed(
    answer, saas, tenant, slug, offboard, superuser
):
    await offboard(tenant)
    assert issued_for(slug) in await answer("tenant", "purge", slug)

    superuser.execute(
        "UPDATE deletion_certificates SET document = jsonb_set(document, "
        "'{tables,projects,left}', '1') WHERE id = %s",
        [tenant.tenant_id],
    )
    code, _, refused = await saas("tenant", "certificate", slug)

    assert code == 1
    assert "the digest is not that of the document" in refused


def issued_for(slug):
    return f"{slug} ("


async def test_commands_of_the_page_run_in_their_order(answer, tenant, slug):
    page = (Path(__file__).parents[2] / "docs" / "tenant-life.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.+?)```", page, re.DOTALL)
    lines = [shlex.split(line) for block in blocks for line in block.splitlines()]
    assert len(lines) > 5

    for program, *words in lines:
        assert program == "saas"
        await answer(*(slug if word == "acme" else word for word in words))

    assert (await tenant.get("/v1/projects")).status_code == 200


async def test_wrong_words_are_refused_by_name(answer, refusal, saas, slug):
    unknown = await refusal("tenant", "set-plan", slug, "gold")
    code, _, usage = await saas("tenant", "delete", slug, "--grace-days", "366")

    assert unknown == "There is no plan gold."
    assert code == 2
    assert "grace-days" in usage
    assert json.loads(await answer("tenant", "show", slug, "--json"))["status"] == "active"


async def test_access_is_opened_listed_and_revoked(answer, refusal, tenant, slug, status_of):
    opened = json.loads(
        await answer("tenant", "access", "open", slug, "--reason", "Ticket [42]", "--json")
    )
    token = await answer("tenant", "access", "open", slug, "--reason", "More", "--write")
    alive = [await status_of(text) for text in (opened["access_token"], token)]
    rows = [
        json.loads(line)
        for line in (await answer("tenant", "access", "list", slug, "--json")).splitlines()
    ]
    ended = json.loads(await answer("tenant", "access", "revoke", slug, opened["id"], "--json"))

    assert alive == [200, 200]
    assert ended == {"id": opened["id"]}
    assert [(row["reason"], row["may_write"]) for row in rows] == [
        ("More", True),
        ("Ticket [42]", False),
    ]
    assert [await status_of(text) for text in (opened["access_token"], token)] == [401, 200]
    table = await answer("tenant", "access", "list", slug)
    assert "Ticket [42]" in table
    log = (await tenant.get("/v1/audit?action=access")).json()["items"]
    assert {entry["actor"] for entry in log} == {"platform:cli"}
    blank = await refusal("tenant", "access", "open", slug, "--reason", " ")
    assert blank.startswith("--reason: ")
    absent = await refusal("tenant", "access", "revoke", slug, str(id_of(tenant)))
    assert absent == f"There is no access {id_of(tenant)} to tenant {slug}."
