"""Who the caller is: the credential decides, and no header beside it can choose another tenant."""

import asyncio
import time
from contextlib import asynccontextmanager
from contextvars import Context
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import httpx
import msgspec
import psycopg
import pytest
from psycopg.types.json import Jsonb
from uuid_utils.compat import uuid7

from saas.app import create_app
from saas.auth.keys import new_api_key
from saas.auth.signing_key import signing_key_from
from saas.auth.tokens import TokenIssuer
from saas.errors import ConfigurationError
from saas.settings import load_settings

SAME_ID = {"X-Request-ID": "one-for-all"}
ABSENT = "/v1/projects/0192f3a0-5b6c-7def-8abc-0123456789ab"


@pytest.fixture(scope="module")
def superuser(postgres, settings):
    """Writes what no route makes yet: further keys and members, and suspensions."""
    url = postgres.dsn(postgres.superuser, "saas")
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def write(superuser):
    def run(tenant, statement, *values):
        # The audit triggers need a bound tenant, whoever writes.
        superuser.execute("SELECT set_config('app.tenant_id', %s, false)", [tenant.tenant_id])
        written = superuser.execute(statement, values).rowcount
        assert written == 1

    return run


@pytest.fixture
def tokens(settings):
    return TokenIssuer(
        signing_key_from(settings), issuer=settings.jwt_issuer, audience=settings.jwt_audience
    )


@pytest.fixture
def key_of(write):
    """Makes a further API key of a tenant, and gives its text."""

    def make(tenant, role="owner", permissions=None, expires_at=None):
        key = new_api_key(UUID(tenant.tenant_id), uuid7())
        write(
            tenant,
            """INSERT INTO api_keys (tenant_id, id, prefix, secret_hash, role, permissions,
              expires_at, name, created_by, updated_by)
            VALUES (%s, %s, %s, %s, %s, %s, %s, 'K', 'x', 'x')""",
            *(key.tenant_id, key.key_id, key.prefix, key.secret_hash, role),
            *(None if permissions is None else Jsonb(permissions), expires_at),
        )
        return key

    return make


@pytest.fixture
def member_of(write):
    """Makes a further member of a tenant, and gives the id."""

    def make(tenant, role="member"):
        id = uuid7()
        write(
            tenant,
            """INSERT INTO members (tenant_id, id, email, name, role, created_by, updated_by)
            VALUES (%s, %s, %s, 'M', %s, 'x', 'x')""",
            *(tenant.tenant_id, id, f"{id}@x.test", role),
        )
        return id

    return make


@asynccontextmanager
async def another_app(settings, **changes):
    """Gives a function that sends a credential to a second app on the same database."""
    app = create_app(msgspec.structs.replace(settings, **changes))
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")
    async with app.app.lifespan(), client:

        async def status_of(credential):
            call = client.get("/v1/projects", headers={"Authorization": f"Bearer {credential}"})
            # A context of its own, as on a server: the principal must not stay in the test's.
            return (await asyncio.create_task(call, context=Context())).status_code

        yield status_of


async def actor_of(http, headers):
    created = await http.post("/v1/projects", json={"name": f"p-{uuid4()}"}, headers=headers)
    assert created.status_code == 201, created.text
    return created.json()["created_by"]


async def test_each_kind_of_credential_enters_as_its_own_actor(http, tenant, tokens):
    tenant_id, key = UUID(tenant.tenant_id), f"key:{tenant.body['api_key']['id']}"
    of_member = tokens.issue(tenant.owner_id, tenant_id=tenant_id)
    of_key = tokens.issue(key, tenant_id=tenant_id)

    assert await actor_of(http, {"Authorization": f"Bearer {tenant.key}"}) == key
    assert await actor_of(http, {"Authorization": f"bearer {tenant.key}"}) == key
    assert await actor_of(http, {"X-API-Key": tenant.key}) == key
    assert await actor_of(http, {"Authorization": f"Bearer {of_key}"}) == key
    member = f"member:{tenant.owner_id}"
    assert await actor_of(http, {"Authorization": f"Bearer {of_member}"}) == member
    assert len((await tenant.get("/v1/projects")).json()["items"]) == 5


def changed(text, place):
    return text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]


async def test_whatever_is_wrong_with_a_credential_the_answer_is_the_same(
    http, tenant, other_tenant, operator, settings, tokens
):
    tenant_id = UUID(tenant.tenant_id)
    signing_key = signing_key_from(settings)
    other_key = signing_key_from(
        msgspec.structs.replace(settings, jwt_secret="another secret of at least 32 bytes")
    )
    at = {"issuer": settings.jwt_issuer, "audience": settings.jwt_audience}
    of_platform = TokenIssuer(
        signing_key,
        issuer=settings.jwt_issuer,
        audience=settings.platform_audience,
        requires_tenant=False,
    )
    good = tokens.issue(tenant.owner_id, tenant_id=tenant_id)
    # The tenant of one key beside the id and secret of another.
    swapped = tenant.key[:25] + other_tenant.key[25:47] + tenant.key[47:]
    credentials = [
        *("", "x", "sk_", "sk_" + "0" * 87, operator.key, "null", good + "x", f"{good}.x"),
        *(tenant.key[:-1], tenant.key + "0", swapped, tenant.key.lower(), tenant.key[3:]),
        *(changed(tenant.key, place) for place in (3, 24, 25, 46, 47, 60, 89)),
        *(changed(good, place) for place in (3, good.index(".") + 5, len(good) - 9)),
        TokenIssuer(other_key, **at).issue(tenant.owner_id, tenant_id=tenant_id),
        TokenIssuer(signing_key, **at | {"issuer": "x"}).issue("x", tenant_id=tenant_id),
        of_platform.issue("ops", tenant_id=None),
        tokens.issue(tenant.owner_id, tenant_id=UUID(other_tenant.tenant_id)),
        tokens.issue(tenant.owner_id, tenant_id=uuid4()),
        tokens.issue(str(uuid4()), tenant_id=tenant_id),
        tokens.issue("ada", tenant_id=tenant_id),
        tokens.issue(f"key:{tenant.owner_id}", tenant_id=tenant_id),
        tokens.issue(f"member:{tenant.owner_id}", tenant_id=tenant_id),
        tokens.issue(f"key:{other_tenant.body['api_key']['id']}", tenant_id=tenant_id),
    ]
    schemes = [f"Bearer {text}" for text in credentials]
    schemes += [tenant.key, f"Basic {tenant.key}", f"Token {tenant.key}", "Bearer"]

    refused = [await http.get(ABSENT, headers=SAME_ID)]
    refused += [
        await http.get(ABSENT, headers=SAME_ID | {"Authorization": text}) for text in schemes
    ]

    assert refused[0].json()["code"] == "unauthenticated"
    for answer in refused:
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.content == refused[0].content
        assert sorted(answer.headers.items()) == sorted(refused[0].headers.items())


@pytest.mark.parametrize(
    "names",
    [
        ("Authorization", "Authorization"),
        ("X-API-Key", "X-API-Key"),
        ("Authorization", "X-API-Key"),
        ("X-API-Key", "Authorization"),
    ],
)
async def test_two_credentials_are_none_even_when_they_agree(http, tenant, names):
    headers = [
        (name, f"Bearer {tenant.key}" if name == "Authorization" else tenant.key) for name in names
    ]

    one = await http.get("/v1/projects", headers=headers[:1])
    both = await http.get("/v1/projects", headers=headers)

    assert (one.status_code, both.status_code) == (200, 401)


async def test_each_plane_refuses_the_credentials_of_the_other(tenant, operator):
    for method, path in (("GET", "/v1/projects"), ("POST", "/v1/tasks"), ("GET", "/v1/stats")):
        assert (await operator(method, path)).status_code == 401
    for method, path in (("GET", "/v1/admin/tenants"), ("POST", "/v1/admin/tenants")):
        assert (await tenant(method, path)).status_code == 401
    assert (await tenant.get("/v1/stats")).status_code == 200
    assert (await operator.get("/v1/admin/tenants")).status_code == 200


async def test_tenant_header_selects_only_the_credentials_own_tenant(http, tenant, other_tenant):
    own, foreign = tenant.body["tenant"], other_tenant.body["tenant"]
    credential = [("Authorization", f"Bearer {tenant.key}"), *SAME_ID.items()]
    row = await tenant.create("projects", name="Rocket")

    async def ask(path, *selected):
        headers = [*credential, *(("X-Tenant-ID", text) for text in selected)]
        return await http.get(path, headers=headers)

    for text in (own["id"], own["slug"]):
        assert (await ask("/v1/projects", text)).json()["items"] == [row]
    unknown = await ask("/v1/projects", str(uuid4()))
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")
    for selected in (
        *(["no-such-tenant"], [foreign["id"]], [foreign["slug"]], [""], ["x" * 500], ["*"]),
        *([own["id"] + "0"], [f"{own['id']},{own['id']}"], [own["slug"].upper()], ["ü".encode()]),
        *([own["id"], own["id"]], [own["id"], own["slug"]], [own["id"], foreign["id"]]),
        *([foreign["id"], own["id"]], [own["id"], ""]),
    ):
        refused = await ask("/v1/projects", *selected)
        assert refused.status_code == 404
        assert refused.content == unknown.content
        assert sorted(refused.headers.items()) == sorted(unknown.headers.items())
        # The row of one's own is as unknown there as the tenant is.
        assert (await ask(f"/v1/projects/{row['id']}", *selected)).content == unknown.content


async def test_tenant_header_is_no_credential(http, tenant):
    anonymous = await http.get("/v1/projects", headers=SAME_ID)

    for selected in (tenant.tenant_id, tenant.body["tenant"]["slug"], str(uuid4()), ""):
        refused = await http.get("/v1/projects", headers=SAME_ID | {"X-Tenant-ID": selected})
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == "Bearer"
        assert refused.content == anonymous.content


CALLS = {
    "projects:read": ("GET", "/v1/projects"),
    "projects:write": ("PATCH", ABSENT),
    "projects:purge": ("DELETE", f"{ABSENT}?hard=true"),
    "tasks:read": ("GET", "/v1/tasks"),
    "audit:read": ("GET", "/v1/audit"),
    "stats:read": ("GET", "/v1/stats"),
}
VIEWER = {"projects:read", "tasks:read", "stats:read"}
MEMBER = VIEWER | {"projects:write"}


async def permissions_of(http, credential):
    """Those of CALLS that the credential may make: 403 is the only answer that says no."""
    headers = {"Authorization": f"Bearer {credential}"}
    found = set()
    for permission, (method, path) in CALLS.items():
        body = {} if method == "PATCH" else None
        answer = await http.request(method, path, headers=headers, json=body)
        if answer.status_code != 403:
            found.add(permission)
    return found


@pytest.mark.parametrize(
    ("role", "claims", "expected"),
    [
        ("owner", {}, {*CALLS}),
        ("admin", {}, {*CALLS}),
        ("member", {}, MEMBER),
        ("viewer", {}, VIEWER),
        ("owner", {"role": "viewer"}, VIEWER),
        ("viewer", {"role": "owner"}, VIEWER),
        ("owner", {"role": "emperor"}, set()),
        ("owner", {"permissions": ["tasks:read"]}, {"tasks:read"}),
        ("owner", {"permissions": []}, set()),
        ("owner", {"permissions": ["no:such"]}, set()),
        ("viewer", {"permissions": ["tasks:read", "projects:write"]}, {"tasks:read"}),
        ("owner", {"role": "viewer", "permissions": ["audit:read", "tasks:read"]}, {"tasks:read"}),
    ],
)
async def test_token_carries_what_its_subject_holds_and_may_carry_less(
    http, tenant, tokens, member_of, key_of, role, claims, expected
):
    tenant_id = UUID(tenant.tenant_id)
    subjects = (str(member_of(tenant, role)), f"key:{key_of(tenant, role).key_id}")

    for subject in subjects:
        token = tokens.issue(subject, tenant_id=tenant_id, **claims)
        assert await permissions_of(http, token) == expected


@pytest.mark.parametrize(
    ("role", "permissions", "expected"),
    [
        ("owner", None, {*CALLS}),
        ("viewer", None, VIEWER),
        ("owner", ["tasks:read", "audit:read"], {"tasks:read", "audit:read"}),
        ("owner", [], set()),
        ("viewer", ["projects:read", "projects:write"], {"projects:read"}),
    ],
)
async def test_key_carries_its_own_permissions_and_none_beyond_its_role(
    http, tenant, key_of, role, permissions, expected
):
    key = key_of(tenant, role, permissions)

    assert await permissions_of(http, key.text) == expected


CUTS = (
    ("api_keys", "revoked_at = now()", 401),
    ("api_keys", "expires_at = now()", 401),
    ("api_keys", "deleted_at = now()", 401),
    ("members", "deleted_at = now()", 401),
    ("members", "status = 'suspended'", 401),
    ("tenants", "status = 'suspended'", 403),
)


async def test_who_is_cut_off_is_out_when_the_cache_ends_and_at_once_without_one(
    onboard, settings, tokens, key_of, member_of, write
):
    cases = []
    for table, cut, status in CUTS:
        tenant = await onboard()
        key, member = key_of(tenant), member_of(tenant)
        token = tokens.issue(str(member), tenant_id=UUID(tenant.tenant_id))
        of_key = tokens.issue(f"key:{key.key_id}", tenant_id=UUID(tenant.tenant_id))
        row, entered = {
            "api_keys": (key.key_id, [key.text, of_key]),
            "members": (member, [token]),
            "tenants": (tenant.tenant_id, [key.text, of_key, token]),
        }[table]
        cases.append((tenant, f"UPDATE {table} SET {cut} WHERE id = %s", row, entered, status))
    credentials = [text for *_, entered, _ in cases for text in entered]
    expected = [status for *_, entered, status in cases for _ in entered]

    async with (
        another_app(settings, principal_cache_seconds=0.5) as cached,
        another_app(settings, principal_cache_seconds=0) as uncached,
    ):
        entered_at = time.monotonic()
        for status_of in (cached, uncached):
            assert [await status_of(text) for text in credentials] == [200] * len(credentials)
        for tenant, statement, row, *_ in cases:
            write(tenant, statement, row)
        cut_at = time.monotonic()

        assert [await uncached(text) for text in credentials] == expected
        if time.monotonic() - entered_at < 0.3:
            # The cache is real: its length bounds something.
            assert await cached(credentials[0]) == 200
        await asyncio.sleep(cut_at + 0.52 - time.monotonic())
        assert [await cached(text) for text in credentials] == expected


async def test_key_ends_at_its_own_time_whatever_the_cache_holds(tenant, settings, key_of):
    async with another_app(settings, principal_cache_seconds=5) as status_of:
        ends = datetime.now(UTC) + timedelta(seconds=0.8)
        key = key_of(tenant, expires_at=ends)

        before = await status_of(key.text)
        await asyncio.sleep((ends - datetime.now(UTC)).total_seconds() + 0.02)
        after = await status_of(key.text)

    assert (before, after) == (200, 401)


async def test_cache_is_never_longer_than_the_five_seconds_promised(settings):
    assert settings.principal_cache_seconds <= 5

    with pytest.raises(ConfigurationError, match="SAAS_PRINCIPAL_CACHE_SECONDS"):
        load_settings({"SAAS_PRINCIPAL_CACHE_SECONDS": "5.1"})


async def test_suspension_is_told_to_its_own_members_alone(http, tenant, other_tenant, write):
    write(tenant, "UPDATE tenants SET status = 'suspended' WHERE id = %s", tenant.tenant_id)
    foreign = {"X-Tenant-ID": tenant.tenant_id}

    own = await tenant.get("/v1/projects")
    stranger = await other_tenant.get("/v1/projects", headers=foreign | SAME_ID)
    unknown = await other_tenant.get(
        "/v1/projects", headers={"X-Tenant-ID": str(uuid4())} | SAME_ID
    )
    guessed = await http.get(
        "/v1/projects", headers={"Authorization": f"Bearer {changed(tenant.key, 60)}"}
    )
    write(tenant, "UPDATE tenants SET status = 'active' WHERE id = %s", tenant.tenant_id)
    resumed = await tenant.get("/v1/projects")

    assert (own.status_code, own.json()["code"]) == (403, "tenant_suspended")
    assert (stranger.status_code, stranger.content) == (404, unknown.content)
    assert guessed.status_code == 401
    assert resumed.status_code == 200
