"""The `saas` command as an operator types it, on the suite's database."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psycopg
import pytest
import rich_click as click

from command_line import Saas
from saas.app import create_app
from saas.cli import cli
from saas.db.roles import APP, MIGRATOR, PLATFORM
from saas.dev.postgres import EmbeddedPostgres
from saas.settings import Settings

README = Path(__file__).parents[1] / "README.md"


def bearer(credential: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {credential}"}


async def test_new_tenant_has_a_key_that_works_and_is_shown_once(
    saas: Saas, http: httpx.AsyncClient
) -> None:
    ran = await saas("tenant", "create", "initech", "--owner-email", "bill@initech.test")

    said = re.fullmatch(
        r"Tenant initech is ([0-9a-f-]{36})\.\nIts first API key, shown this once:\n(sk_\w+)",
        ran.answer,
    )
    assert said is not None
    stats = (await http.get("/v1/stats", headers=bearer(said[2]))).json()
    assert (stats["tenant_id"], stats["members"]) == (said[1], 1)
    assert said[2] not in (await saas("tenant", "list", "--json")).answer


async def test_scripts_read_json(saas: Saas, http: httpx.AsyncClient) -> None:
    made = json.loads(
        (
            await saas(
                *("tenant", "create", "hooli", "--name", "Hooli [Inc]", "--plan", "pro", "--json"),
                *("--owner-email", "gavin@hooli.test", "--owner-name", "Gavin"),
            )
        ).answer
    )

    assert set(made) == {"tenant", "owner_id", "api_key"}
    assert (await http.get("/v1/stats", headers=bearer(made["api_key"]))).status_code == 200
    lines = (await saas("tenant", "list", "--json")).answer.splitlines()
    row = next(row for row in map(json.loads, lines) if row["slug"] == "hooli")
    assert row == made["tenant"]
    assert (row["name"], row["plan"], row["status"]) == ("Hooli [Inc]", "pro", "active")
    table = (await saas("tenant", "list")).answer
    assert "hooli" in table
    assert row["id"] in table


async def test_tenant_that_cannot_be_is_refused_and_not_made(saas: Saas) -> None:
    email = ("--owner-email", "owner@piper.test")
    assert (await saas("tenant", "create", "piper", *email)).answer

    taken = await saas("tenant", "create", "piper", *email)
    shouting = await saas("tenant", "create", "Piper!", *email)
    nameless = await saas("tenant", "create", "pied", "--owner-email", "nobody")
    unknown = await saas("tenant", "create", "pied", "--plan", "gold", *email)

    assert taken.refusal == "A tenant with this slug exists already."
    assert shouting.refusal == "slug: Small letters, digits and hyphens, 3 to 40, a letter first."
    assert nameless.refusal.startswith("--owner-email: An email address: a name, @ and a domain")
    assert unknown.refusal == "There is no plan gold."
    rows = (await saas("tenant", "list", "--json")).answer.splitlines()
    slugs = [json.loads(row)["slug"] for row in rows]
    assert (slugs.count("piper"), slugs.count("pied")) == (1, 0)


async def test_token_of_a_member_opens_the_members_tenant_alone(
    saas: Saas, http: httpx.AsyncClient, tenant: Any, other_tenant: Any
) -> None:
    project = await tenant.create("projects", name="Ours")
    foreign = await other_tenant.create("projects", name="Theirs")
    slug = tenant.body["tenant"]["slug"]

    for name, subject in ((slug, ()), (tenant.tenant_id, ("--subject", tenant.owner_id))):
        token = (await saas("token", "--tenant", name, *subject)).answer

        for id, status in ((project["id"], 200), (foreign["id"], 404)):
            answer = await http.get(f"/v1/projects/{id}", headers=bearer(token))
            assert answer.status_code == status
        platform = await http.get("/v1/admin/tenants", headers=bearer(token))
        assert platform.status_code == 401
    stranger = (await saas("token", "--tenant", slug, "--subject", other_tenant.owner_id)).answer
    assert (await http.get("/v1/projects", headers=bearer(stranger))).status_code == 401


async def test_token_of_the_platform_opens_no_tenant(saas: Saas, http: httpx.AsyncClient) -> None:
    token = (await saas("token", "--subject", "ops")).answer

    assert (await http.get("/v1/admin/tenants", headers=bearer(token))).status_code == 200
    assert (await http.get("/v1/projects", headers=bearer(token))).status_code == 401


async def test_token_that_could_not_be_used_is_refused(saas: Saas, tenant: Any) -> None:
    slug = tenant.body["tenant"]["slug"]
    assert (await saas("token", "--tenant", slug, "--ttl", "60")).answer

    for wish, why in (
        (("--tenant", "no-such-tenant"), "There is no tenant no-such-tenant."),
        (("--tenant", slug, "--subject", "nobody"), "--subject: a member's id"),
        (("--tenant", slug, "--ttl", "0"), ""),
    ):
        assert (await saas("token", *wish)).refusal.startswith(why)


async def test_tokens_are_ended_for_a_member_or_everybody(
    saas: Saas, http: httpx.AsyncClient, tenant: Any, other_tenant: Any
) -> None:
    slug = tenant.body["tenant"]["slug"]
    key = f"key:{tenant.body['api_key']['id']}"

    async def two_tokens(ttl: str) -> list[str]:
        return [
            (await saas("token", "--tenant", slug, "--ttl", ttl, *subject)).answer
            for subject in ((), ("--subject", key))
        ]

    async def statuses(tokens: list[str]) -> list[int]:
        answers = [await http.get("/v1/projects", headers=bearer(token)) for token in tokens]
        return [answer.status_code for answer in answers]

    # Tokens that no node has seen, and so remembers.
    first, second = await two_tokens("600"), await two_tokens("601")
    ended = await saas("token", "revoke", "--tenant", slug, "--member", tenant.owner_id)
    assert re.fullmatch(r"Tokens issued before \S+ \S+ UTC are refused\.", ended.answer)
    assert await statuses(first) == [401, 200]
    ended = await saas("token", "revoke", "--tenant", tenant.tenant_id, "--json")
    assert set(json.loads(ended.answer)) == {"tokens_valid_from"}
    assert await statuses(second) == [401, 401]
    assert (await tenant.get("/v1/projects")).status_code == 200
    entries = (await tenant.get("/v1/audit?entity=tenants&limit=1")).json()["items"]
    assert [entry["actor"] for entry in entries] == ["platform:cli"]

    stranger = other_tenant.owner_id
    for wish, why in (
        (("--tenant", slug, "--member", stranger), f"There is no member {stranger}."),
        (("--tenant", slug, "--member", "ada"), "--member: a member's id"),
        (("--tenant", "no-such-tenant"), "There is no tenant no-such-tenant."),
    ):
        assert (await saas("token", "revoke", *wish)).refusal == why
    for misplaced in (("--tenant", slug, "revoke"), ("revoke",)):
        assert (await saas("token", *misplaced)).code == 2


async def test_token_is_signed_by_the_key_of_now(
    saas: Saas, settings: Settings, serve: Any, tenant: Any
) -> None:
    slug, new = tenant.body["tenant"]["slug"], "the secret of after the rotation"
    rotated = {"jwt_secret": new, "jwt_verification_keys": settings.jwt_secret}
    before = (await saas("token", "--tenant", slug)).answer
    after = (await saas("token", "--tenant", slug, **rotated)).answer

    async with serve(create_app(msgspec.structs.replace(settings, **rotated))) as http:
        for token in (before, after):
            answer = await http.get("/v1/projects", headers=bearer(token))
            assert answer.status_code == 200
    assert (await tenant.get("/v1/projects", headers=bearer(after))).status_code == 401


async def test_url_prints_the_address_of_each_role(saas: Saas, settings: Settings) -> None:
    assert (await saas("url")).answer == settings.database_url
    for role, url in (
        ("app", settings.database_url),
        ("platform", settings.platform_database_url),
        ("migrator", settings.migration_database_url),
    ):
        printed = (await saas("url", role)).answer
        assert printed == url
        with psycopg.connect(printed) as connection:
            assert connection.execute("SELECT current_user").fetchone() == (f"saas_{role}",)

    assert (await saas("url", "migrator", migration_database_url=None)).refusal


@pytest.fixture
def empty(postgres: EmbeddedPostgres) -> Iterator[dict[str, str]]:
    """The addresses of a database that is not there yet."""
    yield {
        "database_url": postgres.dsn(APP, "cli"),
        "platform_database_url": postgres.dsn(PLATFORM, "cli"),
        "migration_database_url": postgres.dsn(MIGRATOR, "cli"),
    }
    admin_url = postgres.dsn(postgres.superuser, "postgres")
    with psycopg.connect(admin_url, autocommit=True) as administrator:
        administrator.execute("DROP DATABASE IF EXISTS cli WITH (FORCE)")


async def test_server_of_ones_own_is_set_up_by_three_commands(
    saas: Saas, postgres: EmbeddedPostgres, empty: dict[str, str]
) -> None:
    administrator = postgres.dsn(postgres.superuser, "postgres")

    for _ in range(2):
        ready = await saas("bootstrap", administrator, "--database", "cli")
        assert "database cli are ready" in ready.answer
    before = await saas("doctor", **empty)
    for _ in range(2):
        assert (await saas("migrate", **empty)).answer == ""
    after = await saas("doctor", **empty)

    assert before.code == 1
    assert "error: The database is at revision none" in before.out
    assert after.answer.splitlines()[-1] == "Both locks are in place."


async def test_doctor_tells_each_fault_in_a_line(
    saas: Saas, postgres: EmbeddedPostgres, empty: dict[str, str]
) -> None:
    await saas("bootstrap", postgres.dsn(postgres.superuser, "postgres"), "--database", "cli")
    await saas("migrate", **empty)
    with psycopg.connect(postgres.dsn(postgres.superuser, "cli")) as administrator:
        administrator.execute("ALTER TABLE projects DISABLE ROW LEVEL SECURITY")

    ran = await saas("doctor", **empty)

    assert ran.code == 1
    lines = ran.out.splitlines()
    assert all(line.startswith(("warning: ", "error: ")) for line in lines)
    assert any(line.startswith("error: ") and "projects" in line for line in lines)


async def test_unreachable_server_is_one_line(saas: Saas) -> None:
    nowhere = "postgresql://saas@127.0.0.1:1/saas"
    urls = dict.fromkeys(("database_url", "platform_database_url"), nowhere)

    for arguments in (("tenant", "list"), ("tenant", "list", "--json"), ("token",)):
        assert "Connect call failed" in (await saas(*arguments, **urls)).refusal
    for refused in (
        await saas("migrate", migration_database_url=nowhere),
        await saas("bootstrap", nowhere),
    ):
        assert "Connection refused" in refused.refusal
    assert "is needed" in (await saas("migrate", migration_database_url=None)).refusal


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"port": "eighty"}, "SAAS_PORT: Expected `int`"),
        ({"prot": "8000"}, "SAAS_PROT is no setting"),
        ({"server": "apache"}, "SAAS_SERVER: Invalid enum value"),
        ({"jwt_secret": None, "jwt_secret_file": "/no/such/file"}, "SAAS_JWT_SECRET_FILE: cannot"),
        ({"database_url": None}, "SAAS_DATABASE_URL is missing"),
        ({"platform_database_url": None}, "SAAS_PLATFORM_DATABASE_URL is needed"),
        (
            {"environment": "prod", "platform_key": None, "metrics_token": None},
            "SAAS_PLATFORM_KEY is needed",
        ),
        ({"jwt_secret": "short"}, "SAAS_JWT_SECRET is shorter"),
    ],
)
async def test_bad_setting_is_refused_by_its_name(
    saas: Saas, changes: dict[str, str | None], words: str
) -> None:
    assert words in (await saas("token", **changes)).refusal


async def test_help_knows_every_command_of_the_readme(saas: Saas) -> None:
    section = README.read_text().partition("## The command line")[2].partition("## ")[0]
    named = re.findall(r"`saas ([a-z| -]+)`", " ".join(section.split()))
    assert len(named) > 5

    for words in named:
        *group, commands = words.split()
        overview = (await saas(*group, "--help")).answer
        for command in commands.split("|"):
            assert re.search(rf"│ {command} ", overview), f"{command} is not in the help"
            own = (await saas(*group, command, "--help")).answer
            assert re.search(rf"Usage: .*{' '.join((*group, command))}", own)


def test_readme_knows_every_command_of_the_help() -> None:
    section = README.read_text().partition("## The command line")[2].partition("## ")[0]
    named = [
        words.split() for words in re.findall(r"`saas ([a-z| -]+)`", " ".join(section.split()))
    ]
    known = {" ".join((*group, one)) for *group, last in named for one in last.split("|")}

    assert set(leaves(cli)) - known == set()


def leaves(group: click.Group, *words: str) -> Iterator[str]:
    """What can be called, groups that do something by themselves included."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from leaves(command, *words, name)
        if not isinstance(command, click.Group) or command.invoke_without_command:
            yield " ".join((*words, name))


async def test_wrong_use_shows_the_right_one(saas: Saas) -> None:
    for arguments in (("tenant", "create", "acme"), ("tenants",), ("url", "root"), ("token", "-x")):
        ran = await saas(*arguments)
        assert (ran.code, ran.out) == (2, "")
        assert "Usage: " in ran.err
        assert "Traceback" not in ran.err


async def test_plans_are_made_changed_and_listed(
    saas: Saas, http: httpx.AsyncClient, settings: Settings
) -> None:
    made = await saas("plan", "create", "cli-plan", "--rows", "10", "--members", "none", "--json")
    limits = ("--requests-per-second", "5", "--rows", "none", "--json")
    changed = await saas("plan", "set", "cli-plan", "--name", "Of [the] shell", *limits)

    assert json.loads(made.answer)["limits"]["rows"] == 10
    plan = json.loads(changed.answer)
    assert (plan["slug"], plan["name"]) == ("cli-plan", "Of [the] shell")
    assert {name: n for name, n in plan["limits"].items() if n} == {"requests_per_second": 5}
    listed = [
        json.loads(line) for line in (await saas("plan", "list", "--json")).answer.splitlines()
    ]
    assert len(listed) >= 4
    served = await http.get("/v1/admin/plans/cli-plan", headers=bearer(str(settings.platform_key)))
    assert served.json() == plan
    assert "Of [the] shell" in (await saas("plan", "list")).answer


async def test_commands_of_the_page_on_limits_run(saas: Saas) -> None:
    page = (README.parent / "docs" / "limits.md").read_text(encoding="utf-8")
    commands = re.findall(r"^saas (plan .+)$", page, re.MULTILINE)

    ran = [await saas(*command.split(), "--json") for command in commands]

    limits = [json.loads(one.answer)["limits"] for one in ran]
    assert [found["rows"] for found in limits] == [20_000, None]
    assert limits[1] == limits[0] | {"rows": None}


async def test_plan_that_cannot_be_is_refused_in_a_line(saas: Saas) -> None:
    assert (await saas("plan", "create", "cli-bad", "--rows", "0")).refusal.startswith("--rows: ")
    assert (await saas("plan", "create", "CLI", "--rows", "1")).refusal.startswith("slug: ")
    assert "exists already" in (await saas("plan", "create", "free")).refusal
    absent = await saas("plan", "set", "cli-bad", "--rows", "1")
    assert absent.refusal == "There is no plan cli-bad."
    ran = await saas("plan", "set", "free", "--rows", "many")
    assert (ran.code, ran.out) == (2, "")
    assert "many is neither a number nor none" in ran.err
