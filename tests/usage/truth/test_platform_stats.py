"""The platform's view: sums over all tenants, the tenants with the most, one tenant's figures."""

import asyncio
import itertools
from uuid import uuid4

import pytest

from saas.app import RESOURCES
from saas.db.models import tenant_tables
from saas.usage.folding import fold
from saas.usage.models import ENTRANCE

RANKINGS = ("requests", "rows", "growth", "errors")
ASKED = (
    "INSERT INTO usage_days (tenant, day, requests, errors, bytes_in, bytes_out) "
    "VALUES (%s, (now() AT TIME ZONE 'UTC')::date - %s, %s, %s, 0, 0) "
    "ON CONFLICT (tenant, day) DO UPDATE SET requests = excluded.requests, errors = excluded.errors"
)


async def overview(operator, query=""):
    answer = await operator.get(f"/v1/admin/stats{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()


rounds = itertools.count(1)


@pytest.fixture
async def two(tenant, other_tenant, superuser):
    """A tenant with the most of everything this month, and one with the second most."""
    # More than those of the tests before.
    number = next(rounds)
    for share, caller in ((2, tenant), (1, other_tenant)):
        items = [
            {"op": "create", "data": {"name": f"p{n}"}}
            for n in range(100 + 20 * number + 9 * share)
        ]
        made = await caller.post("/v1/projects/batch", {"mode": "atomic", "items": items})
        assert made.status_code == 200, made.text
        asked = 10**12 * number + 10**11 * share
        superuser(ASKED, caller.tenant_id, 0, asked, asked // 10)
        # Of another month, however late in this one it is.
        superuser(ASKED, caller.tenant_id, 40, 10**15, 10**15)
    return tenant, other_tenant, len(items) + 9, asked + 10**11


@pytest.mark.parametrize("is_folded", [False, True])
async def test_figures_of_the_tenants_add_up_to_those_of_the_platform(
    two, operator, superuser, database, is_folded
):
    if is_folded:
        await fold(database)

    found = await overview(operator, "?limit=100")

    ids = [str(id) for (id,) in superuser("SELECT id FROM tenants WHERE status <> 'deleted'")]
    each = [(await operator.get(f"/v1/admin/tenants/{id}/stats")).json() for id in ids]
    assert found["tenants"]["total"] == len(each)
    for name in ("projects", "tasks"):
        for state in ("total", "active", "deleted"):
            held = sum(one["resources"][name][state] for one in each)
            assert found["resources"][name][state] == held
    for period in ("today", "month"):
        assert found["requests"][period] == sum(one["requests"][period] for one in each)
    assert found["resources"]["projects"]["total"] > 200


async def test_top_has_the_tenants_with_the_most_and_all_four_values(two, operator, database):
    first, second, rows, requests = two
    row = (await first.get("/v1/projects?limit=1")).json()["items"][0]
    await first.delete(f"/v1/projects/{row['id']}")
    await fold(database)
    await first.create("projects", name="After the fold")
    expected = {
        "tenant_id": first.tenant_id,
        "slug": first.body["tenant"]["slug"],
        "name": first.body["tenant"]["name"],
        "requests": requests,
        "rows": rows,
        "growth": rows,
        "errors": requests // 10,
    }

    for ranking in RANKINGS:
        top = (await overview(operator, f"?by={ranking}&limit=100"))["top"]

        values = [entry[ranking] for entry in top]
        assert values == sorted(values, reverse=True)
        assert expected in top
        order = [entry["tenant_id"] for entry in top]
        assert order.index(first.tenant_id) < order.index(second.tenant_id)
    by_requests = (await overview(operator))["top"]
    assert len(by_requests) <= 10
    assert by_requests[0] == expected
    assert (await overview(operator, "?limit=1"))["top"] == [expected]


async def test_suspended_and_deleted_tenants_are_told_apart(tenant, other_tenant, operator):
    before = (await overview(operator))["tenants"]

    await operator.post(f"/v1/admin/tenants/{tenant.tenant_id}/suspend")
    await operator.delete(f"/v1/admin/tenants/{other_tenant.tenant_id}")

    after = (await overview(operator))["tenants"]
    assert after == {
        "total": before["total"],
        "active": before["active"] - 2,
        "suspended": before["suspended"] + 1,
    }


async def test_all_figures_are_of_one_moment(two, operator):
    tenant = two[0]

    async def write(number):
        for turn in range(5):
            tasks = [{"title": "Only"}]
            await tenant.create("projects", name=f"{number}-{turn}", tasks=tasks)

    def totals(found):
        (own,) = [one for one in found["top"] if one["tenant_id"] == tenant.tenant_id]
        resources = found["resources"]
        return own["rows"], resources["projects"]["total"], resources["tasks"]["total"]

    before = totals(await overview(operator, "?by=rows&limit=100"))
    writing = asyncio.gather(*(write(number) for number in range(4)))
    seen = [[0, 0, 0]]
    while not writing.done():
        found = totals(await overview(operator, "?by=rows&limit=100"))
        seen.append([now - was for now, was in zip(found, before, strict=True)])
    await writing

    # A project and its task come at once, and nobody else writes.
    assert all(rows == 2 * made == 2 * tasks for rows, made, tasks in seen)
    assert len({rows for rows, _, _ in seen}) > 1, "no figure was taken while the writers ran"


async def test_operator_sees_the_very_figures_of_a_tenant(two, operator):
    own = (await two[0].get("/v1/stats")).json()
    seen = (await operator.get(f"/v1/admin/tenants/{two[0].tenant_id}/stats")).json()

    assert seen | {"as_of": own["as_of"]} == own


async def test_stats_of_an_unknown_tenant_are_404(operator):
    for id in (uuid4(), "malformed"):
        refused = await operator.get(f"/v1/admin/tenants/{id}/stats")
        assert (refused.status_code, refused.json()["code"]) == (404, "not_found")


async def test_tenants_do_not_see_the_platform(tenant):
    for path in ("/v1/admin/stats", f"/v1/admin/tenants/{tenant.tenant_id}/stats"):
        assert (await tenant.get(path)).status_code == 401


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("by=size", "requests, rows, growth, errors"),
        ("by=", "requests, rows, growth, errors"),
        ("limit=0", "1 to 100"),
        ("limit=101", "1 to 100"),
        ("limit=x", "1 to 100"),
        ("by=rows&by=rows", "once"),
        ("sort=rows", "by, limit"),
    ],
)
async def test_bad_parameter_is_refused_with_what_is_allowed(operator, query, names):
    refused = await operator.get(f"/v1/admin/stats?{query}")

    assert refused.status_code == 400
    assert names in refused.json()["detail"]


def test_tables_about_who_may_enter_are_the_audited_ones_without_a_resource():
    audited = {table.name for table in tenant_tables() if table.info.get("audited", True)}

    assert audited - {resource.name for resource in RESOURCES} == set(ENTRANCE)
