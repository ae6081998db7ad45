"""Tokens of external issuers through the API: a real provider on loopback, its keys served by
HTTP."""

from uuid import uuid4

import msgspec
import psycopg
import pytest
from uuid_utils.compat import uuid7

from identity_provider import identity_provider
from saas.app import create_app

AUDIT = "/v1/audit"
NARROW = "https://narrow.test"
ALGORITHMS = ("RS256", "PS256", "ES256", "ES384", "EdDSA")


@pytest.fixture(scope="module")
async def provider():
    async with identity_provider() as provider:
        for algorithm in ALGORITHMS:
            provider.add_key(algorithm, algorithm)
        yield provider


@pytest.fixture(scope="module")
async def api(settings, serve, provider):
    """An app that believes the provider of any tenant, and under a second name what narrows too."""
    narrowing = {"role": "role", "permissions": "scope"}
    issuers = provider.entry() + provider.entry(issuer=NARROW, claims=narrowing)
    async with serve(create_app(msgspec.structs.replace(settings, issuers=issuers))) as http:
        yield http


@pytest.fixture(scope="module")
def superuser(postgres, settings):
    url = postgres.dsn(postgres.superuser, "saas")
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def write(superuser):
    def run(tenant, statement, *values):
        superuser.execute("SELECT set_config('app.tenant_id', %s, false)", [tenant.tenant_id])
        assert superuser.execute(statement, values).rowcount == 1

    return run


@pytest.fixture
def member_of(write):
    """Makes a further member of a tenant, and gives the id."""

    def make(tenant, email, role="member"):
        id = str(uuid7())
        write(
            tenant,
            """INSERT INTO members (tenant_id, id, email, name, role, created_by, updated_by)
            VALUES (%s, %s, %s, 'M', %s, 'x', 'x')""",
            *(tenant.tenant_id, id, email, role),
        )
        return id

    return make


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


async def status_of(http, token, path="/v1/projects"):
    return (await http.get(path, headers=bearer(token))).status_code


async def actor_of(http, token):
    """Who the caller is taken for; None for nobody."""
    answer = await http.post("/v1/projects", json={"name": f"p-{uuid4()}"}, headers=bearer(token))
    return answer.json()["created_by"] if answer.status_code == 201 else None


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_token_of_each_algorithm_enters_as_the_member_that_it_names(
    api, http, provider, tenant, member_of, algorithm
):
    email = f"{uuid4()}@idp.test"
    member = member_of(tenant, email)
    slug = tenant.body["tenant"]["slug"]

    for named in (tenant.tenant_id, slug):
        for who in ({"sub": member}, {"email": email}, {"email": email, "email_verified": True}):
            token = provider.issue(algorithm, tenant=named, **who)
            assert await actor_of(api, token) == f"member:{member}"
    # The id is what counts: an address may have been given to another member.
    both = provider.issue(algorithm, tenant=slug, sub=tenant.owner_id, email=email)
    assert await actor_of(api, both) == f"member:{tenant.owner_id}"
    selecting = bearer(both) | {"X-Tenant-ID": slug}
    assert (await api.get("/v1/projects", headers=selecting)).status_code == 200
    # Who is not told of the issuer does not believe it.
    assert await status_of(http, both) == 401


async def test_nobody_but_a_live_member_of_the_named_tenant_enters(
    api, provider, tenant, other_tenant, member_of, write
):
    emails = [f"{uuid4()}-kim@idp.test" for _ in range(4)]
    members = [member_of(tenant, email) for email in emails]
    foreign = f"{uuid4()}@idp.test"
    stranger = member_of(other_tenant, foreign)

    def said(**claims):
        return provider.issue("EdDSA", **{"tenant": tenant.tenant_id, **claims})

    for email in (*emails, emails[3].upper()):
        assert await status_of(api, said(email=email)) == 200
    write(tenant, "UPDATE members SET deleted_at = now() WHERE id = %s", members[0])
    write(tenant, "UPDATE members SET status = 'suspended' WHERE id = %s", members[1])
    refused = [
        *(said(email=email, jti="again") for email in emails[:2]),
        *(said(sub=member, jti="again") for member in members[:2]),
        said(email=emails[2], email_verified=False),
        said(email=emails[2], email_verified="true"),
        said(email=emails[2], email_verified=None),
        # Kelvin's sign, of which a k is the small letter.
        said(email=emails[3].replace("kim", "\u212aim")),
        said(email=f" {emails[2]}"),
        said(email="%"),
        said(email=""),
        said(email=None),
        said(email=[emails[2]]),
        said(email=emails[2] + "\0"),
        said(sub=members[2].upper()),
        said(sub=f"member:{members[2]}"),
        said(sub=f"key:{tenant.body['api_key']['id']}"),
        said(sub=tenant.body["api_key"]["id"]),
        said(sub=""),
        said(),
        said(email=foreign),
        said(sub=stranger),
        said(sub=other_tenant.owner_id),
        said(sub=members[2], tenant=other_tenant.tenant_id),
        said(email=emails[2], tenant=other_tenant.body["tenant"]["slug"]),
        *(said(sub=members[2], tenant=name) for name in (..., None, "", "no-such", str(uuid4()))),
        *(said(sub=members[2], tenant=name) for name in ("%", [tenant.tenant_id], 1, {}, "a\0")),
        said(sub=members[2], tenant=tenant.tenant_id.upper()),
        said(sub=members[2], tenant=tenant.tenant_id.replace("-", "")),
        said(sub=members[2], tenant=f" {tenant.tenant_id}"),
        said(sub=members[2], tenant=tenant.body["tenant"]["slug"].upper()),
        said(sub=members[2], tenant=..., tid=tenant.tenant_id),
    ]

    assert await status_of(api, said(sub=members[2], email=foreign)) == 200
    assert [await status_of(api, token) for token in refused] == [401] * len(refused)


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"role": "admin", "scope": "openid projects:read audit:read"}, [200, 403, 403]),
        ({"role": "viewer", "scope": ["projects:read", "projects:write"]}, [200, 403, 403]),
        ({"role": "owner", "scope": ["projects:write", "audit:read"]}, [403, 201, 403]),
        ({"role": "emperor", "scope": "projects:read"}, [403] * 3),
        ({"scope": "projects:read projects:write"}, [403] * 3),
        ({"role": "member"}, [403] * 3),
        ({"role": "member", "scope": ""}, [403] * 3),
        ({"role": "member", "scope": None}, [401] * 3),
        ({"role": ["member"], "scope": "projects:read"}, [401] * 3),
        ({"role": "member", "scope": [1]}, [401] * 3),
        ({"role": None, "scope": "projects:read"}, [401] * 3),
    ],
)
async def test_claims_of_role_and_permissions_narrow_and_never_widen(
    api, provider, tenant, member_of, claims, expected
):
    member = member_of(tenant, f"{uuid4()}@idp.test", "member")
    about = {"tenant": tenant.tenant_id, "sub": member}
    plain = provider.issue("EdDSA", **about, **claims)
    narrowed = provider.issue("EdDSA", **about, **claims, iss=NARROW)

    async def statuses(token):
        made = await api.post("/v1/projects", json={"name": f"p-{uuid4()}"}, headers=bearer(token))
        return [await status_of(api, token), made.status_code, await status_of(api, token, AUDIT)]

    assert await statuses(narrowed) == expected
    # Where the operator names no such claims they mean nothing.
    assert await statuses(plain) == [200, 201, 403]


async def test_an_issuer_is_held_to_its_tenants(settings, serve, provider, tenant, other_tenant):
    slug, other = (one.body["tenant"]["slug"] for one in (tenant, other_tenant))
    no_claim = {"tenant": None}
    entries = [
        provider.entry(issuer="https://fixed.test", tenant=slug, claims=no_claim),
        provider.entry(issuer="https://fixed-id.test", tenant=tenant.tenant_id, claims=no_claim),
        provider.entry(issuer="https://some.test", tenants=[slug, "no-such-tenant"]),
        provider.entry(issuer="https://some-id.test", tenants=[tenant.tenant_id]),
        provider.entry(issuer="https://any.test"),
    ]

    async def may_enter(http, iss, one, named):
        token = provider.issue("EdDSA", iss=f"https://{iss}.test", sub=one.owner_id, tenant=named)
        return await status_of(http, token) == 200

    app = create_app(msgspec.structs.replace(settings, issuers="".join(entries)))
    async with serve(app) as http:
        for iss in ("fixed", "fixed-id", "some", "some-id", "any"):
            for named in (slug, tenant.tenant_id):
                assert await may_enter(http, iss, tenant, named)
            for named in (other, other_tenant.tenant_id):
                assert await may_enter(http, iss, other_tenant, named) is (iss == "any")
        # A tenant that the token names beside a fixed one means nothing.
        assert await may_enter(http, "fixed", tenant, other)
        assert not await may_enter(http, "some", tenant, ...)


async def test_tokens_of_an_issuer_end_with_all_others(api, provider, tenant, member_of):
    member = member_of(tenant, f"{uuid4()}@idp.test")

    def tokens(**claims):
        who = (tenant.owner_id, member)
        return [provider.issue("ES256", tenant=tenant.tenant_id, sub=sub, **claims) for sub in who]

    # Each is new to the app, so nothing is remembered of it.
    before, between, after = tokens(), tokens(jti="1"), tokens(jti="2")
    assert [await status_of(api, token) for token in before] == [200, 200]
    assert (await tenant.post(f"/v1/members/{member}/revoke-tokens")).status_code == 200
    assert [await status_of(api, token) for token in between] == [200, 401]
    assert (await tenant.post("/v1/tenant/revoke-tokens")).status_code == 200
    assert [await status_of(api, token) for token in after] == [401, 401]


async def test_suspension_is_told_to_members_alone(api, provider, tenant, write):
    own = provider.issue("EdDSA", tenant=tenant.tenant_id, sub=tenant.owner_id)
    stranger = provider.issue("EdDSA", tenant=tenant.tenant_id, sub=str(uuid4()))
    write(tenant, "UPDATE tenants SET status = 'suspended' WHERE id = %s", tenant.tenant_id)

    assert [await status_of(api, token) for token in (own, stranger)] == [403, 401]


async def test_external_token_opens_no_platform_route(api, provider, tenant, settings):
    good = provider.issue("EdDSA", tenant=tenant.tenant_id, sub=tenant.owner_id)
    assert await status_of(api, good) == 200

    for token in (
        good,
        provider.issue("EdDSA", sub="ops", aud=settings.platform_audience),
        provider.issue("EdDSA", sub="ops", aud=settings.platform_audience, tenant=...),
        provider.issue("EdDSA", sub="ops", aud=settings.platform_audience, iss=settings.jwt_issuer),
    ):
        assert await status_of(api, token, "/v1/admin/tenants") == 401


async def test_token_of_another_issuer_speaks_for_no_person_elsewhere(
    api, http, provider, tenant, other_tenant
):
    """The issuer of one tenant could else enter another as any member that the two share."""
    wish = {"email": f"Ada-{uuid4()}@Idp.test", "role": "admin"}
    made = (await tenant.post("/v1/invitations", wish)).json()
    body = {"token": made["token"], "name": "Ada"}
    own = (await http.post("/v1/invitations/accept", json=body)).json()
    there = {"email": "ada@there.test", "role": "owner"}
    offer = (await other_tenant.post("/v1/invitations", there)).json()
    joined = {"token": offer["token"], "name": "Ada"}
    # However its address is spelled there.
    theirs = bearer(provider.issue("EdDSA", tenant=tenant.tenant_id, email=wish["email"]))

    refused = await api.post("/v1/invitations/accept", json=joined, headers=theirs)
    assert (refused.status_code, refused.json()["code"]) == (403, "no_member_credential")
    ours = bearer(own["access_token"])
    accepted = await http.post("/v1/invitations/accept", json=joined, headers=ours)
    assert accepted.status_code == 201

    elsewhere = {"X-Tenant-ID": other_tenant.tenant_id}
    assert (await api.get("/v1/projects", headers=ours | elsewhere)).status_code == 200
    assert (await api.get("/v1/projects", headers=theirs | elsewhere)).status_code == 404
    listed = [
        [mine["tenant"]["id"] for mine in me.json()["tenants"]]
        for me in (await api.get("/v1/me", headers=ours), await api.get("/v1/me", headers=theirs))
    ]
    assert set(listed[0]) == {tenant.tenant_id, other_tenant.tenant_id}
    assert listed[1] == [tenant.tenant_id]
