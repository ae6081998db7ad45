"""Counting from Python: each key once, in the transaction of whoever counts."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from saas.context import acting_as
from saas.db.sync import database as sync_database
from saas.db.sync import transaction as sync_transaction
from saas.db.transaction import transaction
from saas.errors import Invalid, Unbound
from saas.usage import sync_meters
from saas.usage.folding import fold
from saas.usage.meters import meter


@pytest.fixture
async def count(database, principal):
    """`meter` in a transaction of its own."""

    async def run(*arguments, **options):
        with acting_as(principal):
            async with transaction(database):
                return await meter(*arguments, **options)

    return run


async def test_a_key_counts_once_and_for_its_meter_alone(tenant, count, used):
    assert await count("pdf_pages", 3, idempotency_key="job-1")
    assert not await count("pdf_pages", 5, idempotency_key="job-1")
    assert await count("mails", idempotency_key="job-1")

    assert used(tenant) == {"pdf_pages": (3, 1), "mails": (1, 1)}


async def test_without_a_key_each_call_counts(tenant, count, used):
    assert await count("mails")
    assert await count("mails")

    assert used(tenant) == {"mails": (2, 2)}


async def test_a_key_of_one_tenant_is_free_for_another(tenant, other_tenant, count, used):
    await count("mails", 2, idempotency_key="same")

    answer = await other_tenant.post(
        "/v1/usage/events", {"events": [{"meter": "mails", "idempotency_key": "same"}]}
    )

    assert answer.json() == {"accepted": 1, "duplicates": 0}
    assert (used(tenant), used(other_tenant)) == ({"mails": (2, 1)}, {"mails": (1, 1)})


async def test_of_fifty_at_once_with_one_key_one_counts(tenant, count, used):
    counted = await asyncio.gather(*(count("mails", idempotency_key="one") for _ in range(50)))

    assert sum(counted) == 1
    assert used(tenant) == {"mails": (1, 1)}


async def test_what_is_rolled_back_counts_nothing_and_its_key_is_free(
    tenant, database, principal, count, used
):
    async def break_off():
        async with transaction(database):
            await meter("mails", idempotency_key="job-1")
            raise LookupError

    with acting_as(principal), pytest.raises(LookupError):
        await break_off()

    assert used(tenant) == {}
    assert await count("mails", idempotency_key="job-1")


async def test_an_event_says_who_and_what_and_is_counted_when_it_happened(
    tenant, count, superuser, database
):
    at = datetime.now(UTC) - timedelta(days=40)

    await count("mails", 7, idempotency_key="job-1", at=at, data={"to": "Zoë", "n": [1, None]})
    await fold(database)

    (event,) = superuser.execute(
        "SELECT meter, key, quantity, at, actor, data FROM usage_events WHERE tenant_id = %s",
        [tenant.tenant_id],
    )
    assert event == {
        "meter": "mails",
        "key": "job-1",
        "quantity": 7,
        "at": at,
        "actor": "system:test",
        "data": {"to": "Zoë", "n": [1, None]},
    }
    (figure,) = superuser.execute(
        "SELECT at, kind, quantity, events FROM usage_meters WHERE tenant = %s", [tenant.tenant_id]
    )
    quarter = at.replace(minute=at.minute // 15 * 15, second=0, microsecond=0)
    assert figure == {"at": quarter, "kind": "system", "quantity": 7, "events": 1}


NOW = datetime.now(UTC)
REFUSED = [
    *(({"name": name}, "/meter") for name in ("", "A", "1a", "a-b", "a" * 41, "a\n", "requests")),
    *(({"name": name}, "/meter") for name in ("bytes_in", "latency_p99", "rows_written", None, 1)),
    *(({"quantity": value}, "/quantity") for value in (0, -1, 2**53, 1.5, "1", True, None)),
    *(({"idempotency_key": key}, "/idempotency_key") for key in ("", "k" * 201, "a\0", "\ud800")),
    ({"at": NOW + timedelta(hours=1)}, "/at"),
    ({"at": NOW - timedelta(days=91)}, "/at"),
    ({"at": NOW.replace(tzinfo=None)}, "/at"),
    ({"at": datetime.min.replace(tzinfo=UTC)}, "/at"),
    ({"data": {"a": "x" * 2_048}}, "/data"),
    ({"data": {"a": ["b\0"]}}, "/data"),
    ({"data": {"a\ud800": 1}}, "/data"),
    ({"data": {"a": object()}}, "/data"),
    ({"data": [1]}, "/data"),
]


@pytest.mark.parametrize(("values", "pointer"), REFUSED)
async def test_what_is_no_event_is_refused_by_name(tenant, count, used, values, pointer):
    with pytest.raises(Invalid) as refused:
        await count(**{"name": "mails", **values})

    assert [fault.pointer for fault in refused.value.errors] == [pointer]
    assert used(tenant) == {}


async def test_what_is_just_allowed_counts(tenant, count, used):
    at = NOW - timedelta(days=89)
    data = {"a": "x" * 2_040}

    assert await count("a" * 40, 2**53 - 1, idempotency_key="ü" * 200, at=at, data=data)
    assert await count("a", data={"text": "\\u0000"}, at=NOW + timedelta(minutes=4))

    assert used(tenant) == {"a" * 40: (2**53 - 1, 1), "a": (1, 1)}


async def test_without_a_tenant_or_transaction_nothing_is_counted(database, principal):
    with acting_as(principal), pytest.raises(Unbound):
        await meter("mails")
    async with transaction(database):
        with pytest.raises(Unbound):
            await meter("mails")


async def test_threads_count_as_tasks_do(tenant, settings, principal, count, used):
    def in_thread():
        pool = sync_database.Database(settings.database_url)
        with pool, acting_as(principal), sync_transaction.transaction(pool):
            first = sync_meters.meter("mails", 4, idempotency_key="a", data={"b": 1})
            return first, sync_meters.meter("mails", 4, idempotency_key="a")

    assert await asyncio.to_thread(in_thread) == (True, False)
    assert not await count("mails", idempotency_key="a")
    assert used(tenant) == {"mails": (4, 1)}


async def test_the_most_that_can_be_told_does_not_stop_the_fold(tenant, count, database, used):
    for _ in range(3):
        await asyncio.gather(*(count("mails", 2**53 - 1) for _ in range(400)))
        await fold(database)

    (quantity, events) = used(tenant)["mails"]
    assert (quantity, events) == (2**53 - 1, 1_200)
