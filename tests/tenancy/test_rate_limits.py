"""A tenant sends so many requests a second and no more, by whichever of its credentials."""

import re
from uuid import UUID, uuid4

import pytest

from saas.auth.signing_key import signing_key_from
from saas.auth.tokens import TokenIssuer
from saas.tenancy import rate_counters
from saas.tenancy.rate_counters import Bucket, OwnCounters
from saas.tenancy.rate_limits import RateLimits

# RFC 9651 lists of items with parameters, as the draft on the headers gives them.
POLICY = re.compile(r'"requests";q=(\d+);w=1')
STATE = re.compile(r'"requests";r=(\d+);t=(\d+)')


class Clock:
    """Stands nearly still until it is moved."""

    now = 1_000.0

    def __call__(self) -> float:
        # No two readings of a clock are equal, and without that sums of fractions might not fit.
        self.now += 1e-7
        return self.now


@pytest.fixture
def clock(monkeypatch):
    """The limiter's clock."""
    clock = Clock()
    monkeypatch.setattr(rate_counters, "monotonic", clock)
    return clock


@pytest.fixture
def member_of(settings, http):
    """The tenant's owner, who is another caller than its key."""
    tokens = TokenIssuer(
        signing_key_from(settings), issuer=settings.jwt_issuer, audience=settings.jwt_audience
    )

    def make(tenant, **claims):
        token = tokens.issue(tenant.owner_id, tenant_id=UUID(tenant.tenant_id), **claims)
        return type(tenant)(http, token, tenant.body)

    return make


async def statuses(tenant, times, path="/v1/projects", **options):
    return [(await tenant.get(path, **options)).status_code for _ in range(times)]


async def test_as_many_requests_as_the_plan_allows_are_served_and_the_next_is_told_when(
    on_plan, clock
):
    tenant = await on_plan(requests_per_second=5)

    answers = [await tenant.get("/v1/projects") for _ in range(6)]

    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert {POLICY.fullmatch(a.headers["ratelimit-policy"])[1] for a in answers} == {"5"}
    found = [STATE.fullmatch(answer.headers["ratelimit"]) for answer in answers]
    assert [int(state[1]) for state in found] == [4, 3, 2, 1, 0, 0]
    assert {int(state[2]) for state in found} == {1}
    refused = answers[-1]
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["code"] == "rate_limited"
    assert "5 requests a second" in refused.json()["detail"]
    assert "retry-after" not in answers[0].headers

    clock.now += int(refused.headers["retry-after"])
    assert (await tenant.get("/v1/projects")).status_code == 200


async def test_who_comes_as_often_as_the_plan_allows_is_never_refused(on_plan, clock):
    tenant = await on_plan(requests_per_second=4)

    for _ in range(40):
        assert (await tenant.get("/v1/projects")).status_code == 200
        clock.now += 1 / 4


async def test_no_other_header_address_or_path_makes_a_new_caller(on_plan, clock):
    tenant = await on_plan(requests_per_second=5)
    row = "/v1/projects/0192f3a0-5b6c-7def-8abc-0123456789ab"

    spent = [
        (await tenant.get("/v1/projects", headers={"X-Forwarded-For": "192.0.2.1"})).status_code,
        (await tenant.get(row, headers={"Forwarded": "for=192.0.2.2"})).status_code,
        (await tenant.get("/v1/projects/?limit=1")).status_code,
        (await tenant.post("/v1/projects", {"name": ""})).status_code,
        (await tenant.get("/v1/projects", headers={"X-Tenant-ID": tenant.tenant_id})).status_code,
    ]
    refused = [
        await tenant.get("/v1/projects", headers={"X-Forwarded-For": f"192.0.2.{n}"})
        for n in range(3)
    ]

    assert 429 not in spent
    assert [answer.status_code for answer in refused] == [429] * 3


async def test_what_is_forbidden_counts_too(on_plan, member_of, clock):
    tenant = await on_plan(requests_per_second=2)
    narrowed = member_of(tenant, permissions=["tasks:read"])

    assert await statuses(narrowed, 4) == [403, 403, 429, 429]


async def test_all_callers_of_a_tenant_share_one_rate_and_none_can_take_it_all(
    on_plan, member_of, clock
):
    tenant = await on_plan(requests_per_second=8)
    member = member_of(tenant)

    flood = await statuses(tenant, 30)
    quiet = await statuses(member, 1)
    rest = await statuses(member, 30)

    assert flood == [200] * 8 + [429] * 22
    # A quarter of the rate is kept for the others.
    assert quiet + rest == [200] * 2 + [429] * 29
    other = await on_plan(requests_per_second=8)
    assert await statuses(other, 8) == [200] * 8


async def test_a_tenant_without_a_limit_is_told_of_none(on_plan, http, tenant, clock):
    unlimited = await on_plan(rows=5)

    free = await unlimited.get("/v1/projects")
    stranger = await http.get("/v1/projects")
    enterprise = await tenant.get("/v1/projects")

    for answer in (free, stranger):
        assert not {"ratelimit", "ratelimit-policy"} & set(answer.headers)
    assert {"ratelimit", "ratelimit-policy"} <= set(enterprise.headers)


async def test_a_suspended_or_unknown_tenant_is_refused_before_anything_is_counted(on_plan, clock):
    tenant = await on_plan(requests_per_second=1)

    for _ in range(3):
        answer = await tenant.get("/v1/projects", headers={"X-Tenant-ID": str(uuid4())})
        assert answer.status_code == 404
        assert "ratelimit" not in answer.headers
    assert await statuses(tenant, 2) == [200, 429]


async def served(limits, clock, callers, *, per_second, seconds):
    """How many requests of each caller are served, who sends so many a second, mixed evenly."""
    done = dict.fromkeys(callers, 0)
    steps = 1_000
    for step in range(seconds * steps):
        for caller, rate in callers.items():
            if step * rate // steps != (step + 1) * rate // steps:
                standing = await limits.take("tenant", caller, per_second)
                done[caller] += standing.retry_after == 0
        clock.now += 1 / steps
    return done


async def test_a_flood_leaves_a_caller_with_few_requests_all_of_them(clock):
    limits = RateLimits(OwnCounters())

    done = await served(limits, clock, {"flood": 500, "quiet": 20}, per_second=50, seconds=5)

    assert done["quiet"] == 5 * 20
    assert 5 * 50 <= sum(done.values()) <= 5 * 50 + 50 + 12


async def test_one_caller_alone_has_the_whole_rate(clock):
    limits = RateLimits(OwnCounters())

    done = await served(limits, clock, {"alone": 500}, per_second=50, seconds=5)

    assert 5 * 50 <= done["alone"] <= 5 * 50 + 50


async def test_many_callers_have_no_more_than_their_tenant(clock):
    limits = RateLimits(OwnCounters())
    callers = {f"caller {number}": 100 for number in range(10)}

    done = await served(limits, clock, callers, per_second=50, seconds=3)

    assert 3 * 50 <= sum(done.values()) <= 3 * 50 + 50 + 12
    assert min(done.values()) > 0


async def test_as_many_callers_as_a_process_serves_push_no_limited_one_out(clock):
    counters = OwnCounters()
    bucket = Bucket(1, 1)
    assert not (await counters.take(bucket, "limited")).limited

    for number in range(20_000):
        await counters.take(bucket, f"other {number}")

    assert (await counters.take(bucket, "limited")).limited
