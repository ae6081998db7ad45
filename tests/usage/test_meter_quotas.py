"""A tenant may use what its plan allows of a meter in a month, and not one more."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from saas.usage.folding import fold

EVENTS = "/v1/usage/events"
MOST = 10


def event(key, **values):
    return {"meter": "mails", "idempotency_key": str(key)} | values


async def tell(tenant, *events):
    return await tenant.post(EVENTS, {"events": events})


def assert_full(answer, *, value=MOST):
    assert answer.status_code == 429, answer.text
    problem = answer.json()
    found = problem["code"], problem["limit"], problem["value"]
    assert found == ("quota_exceeded", "meters.mails", value)
    assert "retry-after" not in answer.headers


@pytest.mark.parametrize("is_folded", [False, True], ids=["not folded", "folded"])
async def test_a_hundred_at_once_fill_the_quota_to_the_unit(on_plan, used, database, is_folded):
    tenant = await on_plan(meters={"mails": MOST})
    if is_folded:
        await tell(tenant, event("first", quantity=2))
        await fold(database)
    room = MOST - 2 * is_folded

    answers = await asyncio.gather(*(tell(tenant, event(n)) for n in range(100)))

    refused = [answer for answer in answers if answer.status_code != 200]
    assert len(refused) == 100 - room
    for answer in refused:
        assert_full(answer)
    assert used(tenant)["mails"][0] == MOST


async def test_a_batch_that_does_not_fit_counts_nothing_and_a_repeat_needs_no_room(on_plan, used):
    tenant = await on_plan(meters={"mails": MOST})
    full = [event(n, quantity=5) for n in range(2)]

    assert_full(await tell(tenant, *full, event("more"), event("x", meter="pages")))
    assert used(tenant) == {}
    assert (await tell(tenant, *full)).json() == {"accepted": 2, "duplicates": 0}
    assert (await tell(tenant, *full, full[0])).json() == {"accepted": 0, "duplicates": 3}
    assert_full(await tell(tenant, *full, event("more")))

    assert used(tenant) == {"mails": (MOST, 2)}


async def test_meters_without_a_limit_and_other_months_and_tenants_have_room(on_plan, used):
    tenant = await on_plan(meters={"mails": MOST})
    other = await on_plan(meters={"mails": MOST})
    last_month = (datetime.now(UTC).replace(day=1) - timedelta(days=1)).isoformat()
    assert (await tell(tenant, event("full", quantity=MOST))).status_code == 200

    assert_full(await tell(tenant, event("more")))
    for events in ([event("a", meter="pages", quantity=99)], [event("b", at=last_month)]):
        assert (await tell(tenant, *events)).status_code == 200
    assert (await tell(other, event("more"))).status_code == 200
    assert_full(await tell(tenant, event("c", at=last_month, quantity=MOST)))


async def test_a_tenants_own_limits_of_meters_stand_in_place_of_all_of_the_plans(on_plan, operator):
    tenant = await on_plan(meters={"mails": 1, "pages": 1})
    path = f"/v1/admin/tenants/{tenant.tenant_id}"

    changed = await operator.patch(path, {"limits": {"meters": {"mails": 3}}})

    assert changed.status_code == 200, changed.text
    assert changed.json()["limits"] == {"meters": {"mails": 3}}
    done = await tell(tenant, event("a", quantity=3), event("b", meter="pages", quantity=9))
    assert done.status_code == 200
    assert_full(await tell(tenant, event("c")), value=3)


@pytest.mark.parametrize(
    ("meters", "pointer"),
    [
        ({"Mails": 1}, "/limits/meters"),
        ({"mails": 0}, "/limits/meters"),
        ({"mails": 2**53}, "/limits/meters"),
        ({"mails": None}, "/limits/meters"),
        ([], "/limits/meters"),
        ({f"m{n}": 1 for n in range(101)}, "/limits/meters"),
    ],
)
async def test_what_is_no_limit_of_a_meter_is_refused(operator, meters, pointer):
    body = {"slug": "of-meters", "name": "Of meters", "limits": {"meters": meters}}

    refused = await operator.post("/v1/admin/plans", body)

    assert refused.status_code == 422, refused.text
    assert [fault["pointer"] for fault in refused.json()["errors"]] == [pointer]
