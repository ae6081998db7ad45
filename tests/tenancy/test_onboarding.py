"""A tenant comes into being whole, once and by the platform alone."""

import asyncio
import json
import sys
from contextlib import contextmanager
from uuid import UUID, uuid4

import psycopg
import pytest

from saas.auth.signing_key import signing_key_from
from saas.auth.tokens import TokenIssuer
from saas.db.roles import APP, PLATFORM

WISH = {
    "slug": "acme",
    "name": "Acme Inc.",
    "plan": "free",
    "owner": {"email": "ada@acme.test", "name": "Ada"},
}
# Runs the product's own onboarding and stops before its commit.
HALF_DONE = """
import asyncio, sys
import msgspec
from saas.db.database import Database
from saas.db.transaction import platform_transaction
from saas.tenancy.onboarding import Onboard, onboard

async def main(app_url, platform_url, wish):
    async with Database(app_url, platform_url) as database, platform_transaction(database):
        await onboard(msgspec.json.decode(wish, type=Onboard), actor="platform:test")
        print("written", flush=True)
        await asyncio.sleep(60)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def superuser(postgres, settings):
    """Past row-level security, on the migrated database."""
    url = postgres.dsn(postgres.superuser, "saas")
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def wish():
    """A wish whose slug and email no other test has."""
    name = f"acme-{uuid4().hex[:12]}"
    return {**WISH, "slug": name, "owner": {"email": f"ada@{name}.test", "name": "Ada"}}


def rows_of(superuser, wish):
    """How many tenants, owners and keys there are of this wish, and how many of no tenant."""
    counted = superuser.execute(
        """SELECT (SELECT count(*) FROM tenants WHERE slug = %(slug)s),
          (SELECT count(*) FROM members WHERE email = %(email)s),
          (SELECT count(*) FROM api_keys JOIN tenants ON tenants.id = tenant_id
           WHERE slug = %(slug)s),
          (SELECT count(*) FROM members WHERE tenant_id NOT IN (SELECT id FROM tenants))
          + (SELECT count(*) FROM api_keys WHERE tenant_id NOT IN (SELECT id FROM tenants))""",
        {"slug": wish["slug"], "email": wish["owner"]["email"]},
    )
    return counted.fetchone()


@contextmanager
def as_role(postgres, role, tenant=None):
    with psycopg.connect(postgres.dsn(role)) as connection:
        if tenant is not None:
            # A UUID of our own making: nothing in it can be quoted out of.
            connection.execute(f"SET LOCAL app.tenant_id = '{UUID(tenant.tenant_id)}'")
        yield connection
        connection.rollback()


async def test_onboarding_answers_with_tenant_owner_and_key(operator, wish):
    answer = await operator.post("/v1/admin/tenants", wish)

    body = answer.json()
    assert answer.status_code == 201
    assert body.keys() == {"tenant", "owner", "api_key"}
    tenant, owner, key = body["tenant"], body["owner"], body["api_key"]
    assert answer.headers["location"] == f"/v1/admin/tenants/{tenant['id']}"
    assert {name: tenant[name] for name in ("slug", "name", "plan", "status", "version")} == {
        "slug": wish["slug"],
        "name": "Acme Inc.",
        "plan": "free",
        "status": "active",
        "version": 1,
    }
    assert tenant["created_by"] == "platform:key"
    assert (owner["email"], owner["name"], owner["role"]) == (*wish["owner"].values(), "owner")
    assert key["key"].startswith(key["prefix"])
    assert key["prefix"].startswith("sk_")
    assert len({UUID(part["id"]) for part in body.values()}) == 3
    assert {UUID(part["id"]).version for part in body.values()} == {7}


async def test_first_key_may_do_all_that_an_owner_may(operator, http, wish):
    key = (await operator.post("/v1/admin/tenants", wish)).json()["api_key"]["key"]
    headers = {"Authorization": f"Bearer {key}"}

    created = await http.post("/v1/projects", json={"name": "Rocket"}, headers=headers)
    path = created.headers["location"]
    answers = [
        await http.get("/v1/projects?deleted=include", headers=headers),
        await http.get("/v1/audit", headers=headers),
        await http.get("/v1/stats", headers=headers),
        await http.delete(f"{path}?hard=true", headers=headers),
    ]

    assert created.status_code == 201
    assert [answer.status_code for answer in answers] == [200, 200, 200, 204]


async def test_key_is_told_once_and_stored_as_a_hash(operator, superuser, wish):
    body = (await operator.post("/v1/admin/tenants", wish)).json()
    secret = body["api_key"]["key"][-43:]

    found = await operator.get(f"/v1/admin/tenants/{body['tenant']['id']}")
    stored = superuser.execute(
        "SELECT to_jsonb(k), secret_hash FROM api_keys k WHERE tenant_id = %s",
        [body["tenant"]["id"]],
    )

    assert found.json() == body["tenant"]
    ((row, secret_hash),) = stored.fetchall()
    assert len(secret_hash) == 32
    assert row["prefix"] == body["api_key"]["prefix"]
    assert secret not in json.dumps(row)


async def test_address_of_the_owner_is_stored_in_small_letters(operator, wish):
    wish["owner"]["email"] = wish["owner"]["email"].upper()

    owner = (await operator.post("/v1/admin/tenants", wish)).json()["owner"]

    assert owner["email"] == wish["owner"]["email"].lower()


async def test_plan_is_free_unless_named(operator, wish):
    del wish["plan"]

    answer = await operator.post("/v1/admin/tenants", wish)

    assert answer.json()["tenant"]["plan"] == "free"


@pytest.mark.parametrize("slug", ["abc", "a--", "a0-", "a" * 40])
async def test_shortest_longest_and_odd_slugs_are_taken(operator, wish, slug):
    answer = await operator.post("/v1/admin/tenants", wish | {"slug": slug})

    assert answer.status_code == 201
    assert answer.json()["tenant"]["slug"] == slug


INVALID = [
    *(({"slug": slug}, "/slug") for slug in ("ab", "a" * 41, "1ab", "-ab", "Abc", "a_b", "a b")),
    *(({"slug": slug}, "/slug") for slug in ("", "äbc", "ab\0", None, 123)),
    *(({"plan": plan}, "/plan") for plan in ("gold", "", "FREE", "free\0", None, 1)),
    *(({"name": name}, "/name") for name in ("", "n" * 121, None, 1, "a\0b")),
    ({"owner": None}, "/owner"),
    ({"owner": {"email": "ada@acme.test"}}, "/owner/name"),
    ({"owner": {"name": "Ada"}}, "/owner/email"),
    ({"owner": {"email": "ada@acme.test", "name": ""}}, "/owner/name"),
    ({"owner": {"email": "ada@acme.test", "name": "Ada", "role": "owner"}}, "/owner/role"),
    ({"colour": "red"}, "/colour"),
    ({"id": "0192f3a0-5b6c-7def-8abc-0123456789ab"}, "/id"),
    ({"status": "active"}, "/status"),
    *(
        ({"owner": {"email": email, "name": "Ada"}}, "/owner/email")
        for email in ("", "ada", "@acme.test", "ada@", "a@b@c", "a da@acme.test", "a" * 65 + "@b")
    ),
    ({"owner": {"email": f"ada@{'b' * 190}", "name": "Ada"}}, "/owner/email"),
]


@pytest.mark.parametrize(("change", "pointer"), INVALID)
async def test_invalid_wish_is_refused_with_its_pointer(operator, superuser, wish, change, pointer):
    refused = await operator.post("/v1/admin/tenants", wish | change)
    before = rows_of(superuser, wish)
    taken = await operator.post("/v1/admin/tenants", wish)

    assert refused.status_code == 422, refused.text
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["code"] == "invalid"
    assert [fault["pointer"] for fault in refused.json()["errors"]] == [pointer]
    assert before == (0, 0, 0, 0)
    assert taken.status_code == 201


@pytest.mark.parametrize("field", ["slug", "name", "owner"])
async def test_wish_without_a_field_is_refused(operator, wish, field):
    del wish[field]

    refused = await operator.post("/v1/admin/tenants", wish)

    assert refused.status_code == 422
    assert refused.json()["errors"][0] | {"message": ""} == {
        "pointer": f"/{field}",
        "code": "missing_field",
        "message": "",
    }


async def test_slug_is_taken_for_good_even_under_another_name(operator, superuser, wish):
    await operator.post("/v1/admin/tenants", wish)

    again = await operator.post("/v1/admin/tenants", wish)
    changed = await operator.post("/v1/admin/tenants", wish | {"name": "Other", "plan": "pro"})

    for refused in (again, changed):
        assert refused.status_code == 409
        assert refused.json()["code"] == "already_exists"
        assert [fault["pointer"] for fault in refused.json()["errors"]] == ["/slug"]
    assert rows_of(superuser, wish) == (1, 1, 1, 0)


async def test_fifty_parallel_wishes_for_one_slug_make_one_tenant(operator, superuser, wish):
    answers = await asyncio.gather(
        *(operator.post("/v1/admin/tenants", wish) for _ in range(50)),
    )

    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 49
    assert rows_of(superuser, wish) == (1, 1, 1, 0)
    (made,) = (answer.json() for answer in answers if answer.status_code == 201)
    tenant_id = superuser.execute("SELECT id FROM tenants WHERE slug = %s", [wish["slug"]])
    assert tenant_id.fetchone() == (UUID(made["tenant"]["id"]),)


async def test_process_killed_before_its_commit_leaves_nothing(operator, superuser, settings, wish):
    urls = (settings.database_url, settings.platform_database_url)
    command = [sys.executable, "-c", HALF_DONE, *urls, json.dumps(wish)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert await process.stdout.readline() == b"written\n"
    before = rows_of(superuser, wish)

    process.kill()

    assert await process.wait() == -9
    assert before == rows_of(superuser, wish) == (0, 0, 0, 0)
    # The dead process held the slug's place in the index: this waits until the server let it go.
    answer = await operator.post("/v1/admin/tenants", wish)
    assert answer.status_code == 201
    assert rows_of(superuser, wish) == (1, 1, 1, 0)


async def test_onboarding_is_for_operators_alone(http, tenant, operator, settings, wish):
    key = signing_key_from(settings)
    names = {"issuer": settings.jwt_issuer}
    of_tenants = TokenIssuer(key, audience=settings.jwt_audience, **names)
    of_platform = TokenIssuer(
        key, audience=settings.platform_audience, requires_tenant=False, **names
    )
    member = of_tenants.issue(tenant.owner_id, tenant_id=UUID(tenant.tenant_id))
    ops = of_platform.issue("ops", tenant_id=None)

    for credential in (None, "", tenant.key, member, operator.key + "x", operator.key[:-1]):
        headers = {} if credential is None else {"Authorization": f"Bearer {credential}"}
        refused = await http.post("/v1/admin/tenants", json=wish, headers=headers)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == "Bearer"
    made = await http.post(
        "/v1/admin/tenants", json=wish, headers={"Authorization": f"Bearer {ops}"}
    )
    assert made.status_code == 201
    assert made.json()["tenant"]["created_by"] == "platform:ops"


async def test_operator_finds_tenants_by_id_and_page_by_page(operator, tenant, other_tenant):
    found = await operator.get(f"/v1/admin/tenants/{tenant.tenant_id}")
    page = (await operator.get("/v1/admin/tenants?limit=1")).json()
    listed = page["items"]
    while page["next_cursor"]:
        query = {"limit": 100, "cursor": page["next_cursor"]}
        page = (await operator.get("/v1/admin/tenants", params=query)).json()
        listed += page["items"]

    assert found.json() == tenant.body["tenant"]
    (shown,) = [row for row in listed if row["id"] == tenant.tenant_id]
    assert shown | found.json() == shown
    assert {tenant.tenant_id, other_tenant.tenant_id} <= {row["id"] for row in listed}
    assert len(listed) == len({row["id"] for row in listed})
    for id in (str(uuid4()), "x", tenant.owner_id):
        absent = await operator.get(f"/v1/admin/tenants/{id}")
        assert (absent.status_code, absent.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("table", ["projects", "tasks", "members", "api_keys", "audit_log"])
async def test_platform_role_sees_every_tenant_and_none_of_their_rows(
    postgres, tenant, other_tenant, table
):
    with as_role(postgres, PLATFORM, tenant) as connection:
        ids = {str(id) for (id,) in connection.execute("SELECT id FROM tenants")}
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(f"SELECT 1 FROM {table}")

    assert {tenant.tenant_id, other_tenant.tenant_id} <= ids


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM tenants",
        "UPDATE tenants SET id = gen_random_uuid()",
        "UPDATE tenants SET created_by = 'x'",
        "UPDATE members SET role = 'owner'",
        "DELETE FROM members",
        "UPDATE api_keys SET revoked_at = NULL",
        "DELETE FROM api_keys",
        "INSERT INTO audit_log SELECT * FROM audit_log",
        "INSERT INTO projects (tenant_id, name, created_by, updated_by)"
        " VALUES (current_setting('app.tenant_id')::uuid, 'Rocket', 'x', 'x')",
        "SELECT set_config('app.tenant_id', '', true)",
        "TRUNCATE tenants",
        "SET ROLE saas_owner",
    ],
)
async def test_platform_role_may_not_do_more_than_onboard(postgres, tenant, statement):
    with (
        as_role(postgres, PLATFORM, tenant) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement)


async def test_platform_role_writes_members_of_the_bound_tenant_alone(
    postgres, tenant, other_tenant
):
    insert = """INSERT INTO members (tenant_id, email, name, role, created_by, updated_by)
      VALUES (%s, 'eve@x.test', 'Eve', 'owner', 'x', 'x')"""

    with as_role(postgres, PLATFORM, tenant) as connection:
        assert connection.execute(insert, [tenant.tenant_id]).rowcount == 1
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            connection.execute(insert, [other_tenant.tenant_id])
    with (
        as_role(postgres, PLATFORM) as unbound,
        pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"),
    ):
        unbound.execute(insert, [tenant.tenant_id])


async def test_app_role_sees_its_own_tenant_and_changes_none(postgres, tenant, other_tenant):
    with as_role(postgres, APP, tenant) as connection:
        found = connection.execute("SELECT id FROM tenants").fetchall()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("UPDATE tenants SET plan = 'pro'")

    assert found == [(UUID(tenant.tenant_id),)]
