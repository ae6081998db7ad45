"""Operators change, suspend, resume and offboard tenants, and everybody notices in time."""

import asyncio
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest
from purges import id_of, purge_in_the_end

from saas.auth.signing_key import signing_key_from
from saas.auth.tokens import TokenIssuer
from saas.errors import WrongTenantStatus
from saas.tenancy.purge import purge


@pytest.fixture
def at(tenant):
    return f"/v1/admin/tenants/{tenant.tenant_id}"


@pytest.fixture
def credentials(tenant, settings):
    """A key, and tokens of the key and of the owner."""
    tokens = TokenIssuer(
        signing_key_from(settings), issuer=settings.jwt_issuer, audience=settings.jwt_audience
    )
    id = UUID(tenant.tenant_id)
    key = f"key:{tenant.body['api_key']['id']}"
    return [
        tenant.key,
        tokens.issue(key, tenant_id=id),
        tokens.issue(tenant.owner_id, tenant_id=id),
    ]


async def entries(tenant, **wanted):
    """The tenant's own log of itself, the newest first."""
    answer = await tenant.get("/v1/audit", params={"entity": "tenants", **wanted})
    return answer.json()["items"]


async def test_name_plan_and_limits_are_changed_one_by_one(operator, tenant, at):
    changed = await operator.patch(at, {"name": "New Name", "plan": "pro"})
    limited = await operator.patch(at, {"limits": {"rows": 5, "members": None}})
    more = await operator.patch(at, {"limits": {"requests_per_second": 7, "rows": 6}})
    same = await operator.patch(at, {"plan": "pro", "limits": {"rows": 6}})
    cleared = await operator.patch(at, {"limits": None})

    bodies = [answer.json() for answer in (changed, limited, more, same, cleared)]
    assert (bodies[0]["name"], bodies[0]["plan"], bodies[0]["limits"]) == ("New Name", "pro", {})
    assert bodies[1]["limits"] == {"rows": 5, "members": None}
    assert bodies[2]["limits"] == {"rows": 6, "members": None, "requests_per_second": 7}
    assert bodies[3] == bodies[2]
    assert bodies[4]["limits"] == {}
    assert [body["version"] for body in bodies] == [2, 3, 4, 4, 5]
    assert more.headers["etag"] == '"4"'
    assert (await operator.get(at)).json() == bodies[4]
    newest = (await entries(tenant))[-2]
    assert (newest["actor"], newest["action"]) == ("platform:key", "update")
    assert newest["changes"]["plan"] == {"old": "enterprise", "new": "pro"}


BAD_CHANGES = [
    ({"name": ""}, "/name"),
    ({"name": " "}, "/name"),
    ({"name": None}, "/name"),
    ({"plan": "gold"}, "/plan"),
    ({"plan": None}, "/plan"),
    ({"slug": "other-slug"}, "/slug"),
    ({"status": "active"}, "/status"),
    ({"purge_at": None}, "/purge_at"),
    ({"limits": {"rows": -1}}, "/limits/rows"),
    ({"limits": {"rows": 2**63}}, "/limits/rows"),
    ({"limits": {"rows": "5"}}, "/limits/rows"),
    ({"limits": {"requests_per_second": 0}}, "/limits/requests_per_second"),
    ({"limits": {"colour": 1}}, "/limits/colour"),
    ({"limits": []}, "/limits"),
    ({"version": 0}, "/version"),
]


@pytest.mark.parametrize(("change", "pointer"), BAD_CHANGES)
async def test_bad_change_is_refused_with_its_pointer(operator, at, change, pointer):
    before = (await operator.get(at)).json()

    refused = await operator.patch(at, change)

    assert refused.status_code == 422, refused.text
    assert [fault["pointer"] for fault in refused.json()["errors"]] == [pointer]
    assert (await operator.get(at)).json() == before


@pytest.mark.parametrize("act", ["PATCH", "suspend", "DELETE"])
async def test_stale_version_is_refused_and_the_present_one_taken(operator, at, act):
    await operator.patch(at, {"name": "Second version"})

    async def ask(**headers):
        options = {"headers": {name.replace("_", "-"): text for name, text in headers.items()}}
        if act == "PATCH":
            return await operator.patch(at, {"name": "Third version"}, **options)
        if act == "DELETE":
            return await operator.delete(at, **options)
        return await operator.post(f"{at}/{act}", **options)

    for stale in ('"1"', '"1", "9"', 'W/"2"'):
        refused = await ask(if_match=stale)
        assert (refused.status_code, refused.json()["code"]) == (412, "precondition_failed")
        assert refused.json()["current_version"] == 2
    assert (await ask(if_match="two")).status_code == 400
    assert (await ask(if_match='"2"')).status_code in {200, 202}


async def test_version_in_the_body_is_a_precondition(operator, at):
    stale = await operator.patch(at, {"name": "New", "version": 2})
    good = await operator.patch(at, {"name": "New", "version": 1})

    assert (stale.status_code, stale.json()["code"]) == (409, "version_conflict")
    assert stale.json()["current_version"] == 1
    assert (good.status_code, good.json()["version"]) == (200, 2)


async def test_parallel_changes_of_different_limits_all_last(operator, at):
    names = ("requests_per_second", "members", "rows", "storage_bytes", "import_bytes")

    await asyncio.gather(*(operator.patch(at, {"limits": {name: 9}}) for name in names))

    assert (await operator.get(at)).json()["limits"] == dict.fromkeys(names, 9)


async def test_suspended_tenant_is_locked_out_and_let_in_again(
    operator, at, tenant, credentials, status_of
):
    assert [await status_of(text) for text in credentials] == [200] * 3

    suspended = await operator.post(f"{at}/suspend")
    locked_out = [await status_of(text) for text in credentials]
    resumed = await operator.post(f"{at}/resume")

    assert (suspended.status_code, suspended.json()["status"]) == (200, "suspended")
    assert locked_out == [403] * 3
    assert (resumed.status_code, resumed.json()["status"]) == (200, "active")
    assert [await status_of(text) for text in credentials] == [200] * 3
    log = [entry["changes"]["status"]["new"] for entry in await entries(tenant, action="update")]
    assert log == ["active", "suspended"]


async def test_many_who_suspend_at_once_do_it_once(operator, at, tenant):
    answers = await asyncio.gather(*(operator.post(f"{at}/suspend") for _ in range(10)))

    assert {(answer.status_code, answer.json()["version"]) for answer in answers} == {(200, 2)}
    assert (await operator.post(f"{at}/resume")).json()["version"] == 3
    assert (await operator.post(f"{at}/resume")).json()["version"] == 3
    assert len(await entries(tenant, action="update")) == 2


async def test_offboarded_tenant_is_dead_until_it_is_resumed(
    operator, at, tenant, credentials, status_of
):
    answer = await operator.delete(at)
    dead = [await status_of(text) for text in credentials]
    again = await operator.delete(at)
    shown = (await operator.get(at)).json()

    assert answer.status_code == 202
    assert answer.json() == {"status": "deleting", "purge_at": shown["purge_at"]}
    assert again.json() == answer.json()
    assert dead == [401] * 3
    for path in ("suspend", "access"):
        assert (await operator.post(f"{at}/{path}", access_wish())).status_code == 409
    assert (await operator.patch(at, {"name": "New"})).status_code == 409

    resumed = (await operator.post(f"{at}/resume")).json()
    assert (resumed["status"], resumed["purge_at"]) == ("active", None)
    assert [await status_of(text) for text in credentials] == [200] * 3


def access_wish():
    ends = datetime.now().astimezone() + timedelta(hours=1)
    return {"reason": "To look.", "expires_at": ends.isoformat()}


@pytest.mark.parametrize(
    ("query", "seconds"),
    [
        ("", 30 * 86_400),
        ("?grace_days=2", 2 * 86_400),
        ("?grace_seconds=90", 90),
        ("?grace_days=1&grace_seconds=90", 86_490),
        # No shorter than it takes until every node has noticed.
        ("?grace_seconds=0", 15),
        ("?grace_days=0", 15),
        ("?grace_days=365", 365 * 86_400),
    ],
)
async def test_grace_period_is_as_long_as_asked_for(operator, at, query, seconds):
    answer = await operator.delete(f"{at}{query}")

    shown = (await operator.get(at)).json()
    grace = datetime.fromisoformat(shown["purge_at"]) - datetime.fromisoformat(shown["updated_at"])
    assert answer.status_code == 202
    assert abs(grace - timedelta(seconds=seconds)) < timedelta(seconds=5)
    assert (await operator.delete(f"{at}{query}")).status_code == 202
    other = await operator.delete(f"{at}?grace_seconds=77")
    assert (other.status_code, other.json()["code"]) == (409, "wrong_tenant_status")


@pytest.mark.parametrize(
    "query",
    [
        *("grace_days=366", "grace_days=-1", "grace_days=", "grace_days=1.5", "grace_days=x"),
        *("grace_seconds=31536001", "grace_seconds=²", "grace_seconds=" + "9" * 500),
        *("grace_days=1&grace_days=1", "grace=1"),
    ],
)
async def test_bad_grace_period_is_refused(operator, at, query):
    refused = await operator.delete(f"{at}?{query}")

    assert refused.status_code == 400
    assert (await operator.get(at)).json()["status"] == "active"


async def test_tenants_are_listed_by_status_and_end(operator, tenant, other_tenant):
    await operator.post(f"/v1/admin/tenants/{tenant.tenant_id}/suspend")
    await operator.delete(f"/v1/admin/tenants/{other_tenant.tenant_id}")

    for query, found in (
        ("status=suspended", tenant),
        ("status=deleting&purge_at__isnull=false&fields=id,limits,purge_at", other_tenant),
    ):
        listed = (await operator.get(f"/v1/admin/tenants?{query}&limit=100")).json()["items"]
        assert found.tenant_id in {row["id"] for row in listed}
        assert len({tenant.tenant_id, other_tenant.tenant_id} & {row["id"] for row in listed}) == 1
    assert listed[0].keys() == {"id", "limits", "purge_at"}
    refused = await operator.get("/v1/admin/tenants?tokens_valid_from__isnull=true")
    assert refused.status_code == 400


ROUTES = [
    ("PATCH", ""),
    ("DELETE", ""),
    ("POST", "/suspend"),
    ("POST", "/resume"),
    ("GET", "/certificate"),
    ("GET", "/access"),
    ("POST", "/access"),
    ("DELETE", "/access/{absent}"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_tenant_that_is_not_there_is_not_found(operator, tenant, method, path):
    body = {"PATCH": {"name": "New"}, "POST": access_wish() if "access" in path else None}
    for id in (str(uuid4()), "x", tenant.owner_id):
        url = f"/v1/admin/tenants/{id}{path.format(absent=uuid4())}"
        absent = await operator(method, url, json=body.get(method))
        assert (absent.status_code, absent.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("act", ["resume", "DELETE"])
async def test_tenant_that_was_marked_by_hand_is_not_stuck(
    act, operator, at, tenant, superuser, database
):
    superuser.execute("SELECT set_config('app.tenant_id', %s, false)", [tenant.tenant_id])
    superuser.execute("UPDATE tenants SET status = 'deleting' WHERE id = %s", [tenant.tenant_id])
    with pytest.raises(WrongTenantStatus, match="not offboarded"):
        await purge(database, id_of(tenant), actor="platform:ops")

    answer = await (operator.delete(at) if act == "DELETE" else operator.post(f"{at}/resume"))

    assert answer.status_code in {200, 202}
    shown = (await operator.get(at)).json()
    assert (shown["status"], shown["purge_at"] is None) in {("active", True), ("deleting", False)}


async def test_repeat_with_the_same_key_gets_the_first_answer(operator, at):
    key = {"headers": {"Idempotency-Key": str(uuid4())}}

    first = await operator.post(f"{at}/suspend", **key)
    await operator.post(f"{at}/resume")
    again = await operator.post(f"{at}/suspend", **key)

    assert (first.status_code, again.content) == (200, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert (await operator.get(at)).json()["status"] == "active"


async def test_old_credentials_stay_dead_after_the_purge(
    operator, at, credentials, rewind, database, tenant, status_of
):
    await operator.delete(at)
    rewind(tenant)
    await purge_in_the_end(database, tenant)

    assert [await status_of(text) for text in credentials] == [401] * 3
    for path in ("resume", "suspend", "access"):
        refused = await operator.post(f"{at}/{path}", access_wish())
        assert (refused.status_code, refused.json()["tenant_status"]) == (409, "deleted")
    assert (await operator.delete(at)).status_code == 409
    assert (await operator.get(f"{at}/access")).json()["items"] == []
