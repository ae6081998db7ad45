"""`POST /v1/usage/events`: a batch counts as a whole, and once."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

EVENTS = "/v1/usage/events"


def batch(count, **values):
    return {
        "events": [{"meter": "mails", "idempotency_key": f"k{n}"} | values for n in range(count)]
    }


async def test_a_batch_counts_once_however_often_it_comes(tenant, used, superuser):
    first = await tenant.post(EVENTS, batch(1_000, quantity=2))
    again = await tenant.post(EVENTS, batch(1_000, quantity=2))
    new = {"meter": "mails", "idempotency_key": "new"}
    more = await tenant.post(EVENTS, {"events": [*batch(1_000)["events"][1:], new]})

    assert first.status_code == again.status_code == more.status_code == 200, first.text
    assert first.json() == {"accepted": 1_000, "duplicates": 0}
    assert again.json() == {"accepted": 0, "duplicates": 1_000}
    assert more.json() == {"accepted": 1, "duplicates": 999}
    assert used(tenant) == {"mails": (2_001, 1_001)}
    # What is left to fold is by batch, not by event.
    rows = "SELECT count(*) AS rows FROM usage_meter_changes WHERE tenant = %s"
    assert superuser.execute(rows, [tenant.tenant_id]).fetchone() == {"rows": 2}


async def test_of_two_with_one_key_in_a_batch_the_first_counts(tenant, used):
    events = [
        {"meter": "mails", "idempotency_key": "same", "quantity": quantity} for quantity in (3, 5)
    ]

    answer = await tenant.post(EVENTS, {"events": [*events, {**events[0], "meter": "pages"}]})

    assert answer.json() == {"accepted": 2, "duplicates": 1}
    assert used(tenant) == {"mails": (3, 1), "pages": (3, 1)}


async def test_the_same_batch_ten_times_at_once_in_any_order_counts_once(tenant, used):
    events = batch(50)["events"]
    turned = [events if number % 2 else events[::-1] for number in range(10)]

    answers = await asyncio.gather(*(tenant.post(EVENTS, {"events": one}) for one in turned))

    assert [answer.status_code for answer in answers] == [200] * 10
    assert sum(answer.json()["accepted"] for answer in answers) == 50
    assert used(tenant) == {"mails": (50, 50)}


def _time(**ago):
    return (datetime.now(UTC) - timedelta(**ago)).isoformat()


BAD = [
    ({"quantity": 0}, "quantity"),
    ({"quantity": 2**53}, "quantity"),
    ({"quantity": 10**400}, "quantity"),
    ({"quantity": "3"}, "quantity"),
    ({"quantity": 1.5}, "quantity"),
    ({"meter": "Mails"}, "meter"),
    ({"meter": "requests"}, "meter"),
    ({"meter": "a" * 41}, "meter"),
    ({"meter": "mails\n"}, "meter"),
    ({"idempotency_key": ""}, "idempotency_key"),
    ({"idempotency_key": "a\0b"}, "idempotency_key"),
    ({"idempotency_key": "k" * 201}, "idempotency_key"),
    ({"idempotency_key": None}, "idempotency_key"),
    ({"at": "yesterday"}, "at"),
    ({"at": "2026-01-01T00:00:00"}, "at"),
    ({"at": _time(days=91)}, "at"),
    ({"at": _time(hours=-1)}, "at"),
    ({"at": "0001-01-01T00:00:00+14:00"}, "at"),
    ({"data": {"a": "x" * 2_048}}, "data"),
    ({"data": {"a": {"b": "\0"}}}, "data/a/b"),
    ({"data": {"a": 2**64}}, "data/a"),
    ({"data": "text"}, "data"),
    ({"colour": 1}, "colour"),
]


@pytest.mark.parametrize(("values", "place"), BAD)
async def test_one_bad_event_is_named_and_none_counts(tenant, used, values, place):
    body = batch(5)
    body["events"][3] |= values

    refused = await tenant.post(EVENTS, body)

    assert refused.status_code == 422, refused.text
    assert [fault["pointer"] for fault in refused.json()["errors"]] == [f"/events/3/{place}"]
    assert used(tenant) == {}
    body["events"][3] = {"meter": "mails", "idempotency_key": "good"}
    assert (await tenant.post(EVENTS, body)).json() == {"accepted": 5, "duplicates": 0}


async def test_an_event_needs_its_key_and_a_batch_its_events(tenant):
    missing = await tenant.post(EVENTS, {"events": [{"meter": "mails"}]})
    bodies = [{}, {"events": []}, batch(1_001), {"events": [1]}, batch(1) | {"tenant_id": "x"}]

    assert [fault["pointer"] for fault in missing.json()["errors"]] == ["/events/0/idempotency_key"]
    for body in bodies:
        assert (await tenant.post(EVENTS, body)).status_code == 422


async def test_counting_needs_its_own_permission(tenant, used, settings, http):
    made = await tenant.post("/v1/api-keys", {"name": "Meter", "permissions": ["usage:write"]})
    other = await tenant.post("/v1/api-keys", {"name": "Other", "permissions": ["projects:write"]})
    meter, none = (type(tenant)(http, one.json()["key"], tenant.body) for one in (made, other))

    refused = await none.post(EVENTS, batch(1))
    done = await meter.post(EVENTS, batch(1))

    assert (refused.status_code, refused.json()["permission"]) == (403, "usage:write")
    assert done.json() == {"accepted": 1, "duplicates": 0}
    assert used(tenant) == {"mails": (1, 1)}
