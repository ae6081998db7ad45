"""The provider changes its keys, is slow, wrong or gone, while requests run. Who holds a token of a
known key notices nothing."""

import asyncio
import time

import msgspec
import pytest

from identity_provider import http_answer, identity_provider, saying
from saas.app import create_app
from saas.auth import issuer_keys

pytestmark = pytest.mark.long


@pytest.fixture
async def provider():
    async with identity_provider() as provider:
        provider.add_key("first", "RS256")
        yield provider


@pytest.fixture
def served(settings, serve, provider):
    """An app that believes the provider. It remembers no principal: each request is verified."""

    def make(**changes):
        changed = {"issuers": provider.entry(**changes), "principal_cache_seconds": 0}
        return serve(create_app(msgspec.structs.replace(settings, **changed)))

    return make


@pytest.fixture
def token_of(provider, tenant):
    def issue(kid, **claims):
        return provider.issue(kid, tenant=tenant.tenant_id, sub=tenant.owner_id, **claims)

    return issue


async def status_of(http, token):
    headers = {"Authorization": f"Bearer {token}"}
    return (await http.get("/v1/projects", headers=headers)).status_code


async def becomes(status, ask):
    """Whether `ask` answers `status` before long."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if await ask() == status:
            return True
        await asyncio.sleep(0.05)
    return False


async def test_keys_are_changed_while_requests_run_and_every_answer_is_right(
    served, provider, token_of
):
    kinds = ("RS256", "ES256", "EdDSA")
    stop, answers = asyncio.Event(), []
    current = ["first"]

    async def caller(http):
        while not stop.is_set():
            answers.append(await status_of(http, token_of(current[0])))

    async with served() as http:
        callers = [asyncio.create_task(caller(http)) for _ in range(4)]
        for number in range(1, 7):
            await asyncio.sleep(0.1)
            before = len(answers)
            provider.add_key(f"key {number}", kinds[number % 3], number)
            # From here on tokens are signed by a key that the app has never heard of.
            current[0] = f"key {number}"
            if number > 2:
                del provider.keys[f"key {number - 2}"]
            while len(answers) < before + 8:  # noqa: ASYNC110 - the callers go on meanwhile
                await asyncio.sleep(0.01)
        stop.set()
        await asyncio.gather(*callers)

    assert set(answers) == {200}
    # A reading at the start, and for each change one, or two where one was under way.
    assert 1 + 6 <= provider.asked <= 1 + 2 * 6


async def test_key_that_leaves_the_set_ends_at_the_next_reading(served, provider, token_of):
    provider.add_key("second")
    first, second = token_of("first"), token_of("second")

    async with served(refresh_seconds=1) as http:
        assert [await status_of(http, token) for token in (first, second)] == [200, 200]
        del provider.keys["first"]

        assert await becomes(401, lambda: status_of(http, first))
        assert await status_of(http, second) == 200
        # An empty set is an answer too: no key is good.
        provider.keys.clear()
        assert await becomes(401, lambda: status_of(http, second))


async def test_provider_that_is_gone_hurts_nobody_with_a_known_key(served, provider, token_of):
    known = token_of("first")

    async with served(refresh_seconds=1) as http:
        assert await status_of(http, known) == 200
        await provider.stop()
        provider.add_key("second")
        asked = provider.asked

        # Long enough for several readings to fail.
        await asyncio.sleep(2.2)
        assert provider.asked == asked
        assert await status_of(http, known) == 200
        assert await status_of(http, token_of("second")) == 401
        await provider.start()
        assert await becomes(200, lambda: status_of(http, token_of("second")))
        assert await status_of(http, known) == 200


async def test_app_starts_without_the_provider_and_learns_its_keys_later(
    served, provider, token_of, tenant
):
    await provider.stop()

    async with served(refresh_seconds=1) as http:
        assert await status_of(http, token_of("first")) == 401
        assert await status_of(http, tenant.key) == 200
        await provider.start()
        assert await becomes(200, lambda: status_of(http, token_of("first")))


@pytest.mark.parametrize(
    "rubbish",
    [
        http_answer(b"<html>maintenance</html>"),
        http_answer(b'{"keys": []}', status="503 Service Unavailable"),
        http_answer(b"", "Location: http://127.0.0.1:1/keys", status="302 Found"),
        b"rubbish\r\n\r\n",
        b"",
    ],
    ids=["page", "503", "redirect", "no HTTP", "nothing"],
)
async def test_rubbish_is_no_key_set_and_the_known_keys_stay(served, provider, token_of, rubbish):
    known = token_of("first")

    async with served() as http:
        assert await status_of(http, known) == 200
        asked = provider.asked
        provider.answer = saying(rubbish)
        provider.add_key("second")

        assert await status_of(http, token_of("second")) == 401
        assert provider.asked > asked
        assert await status_of(http, known) == 200
        provider.serve_keys()
        assert await status_of(http, token_of("second")) == 200


async def test_slow_provider_keeps_a_stranger_waiting_a_moment_and_nobody_else(
    served, provider, token_of, monkeypatch
):
    monkeypatch.setattr(issuer_keys, "WAIT_SECONDS", 0.3)
    released = asyncio.Event()

    async def slowly(writer):
        await released.wait()
        writer.write(http_answer(provider.key_set()))

    async with served() as http:
        known = token_of("first")
        assert await status_of(http, known) == 200
        provider.add_key("second")
        provider.answer = slowly
        asked = provider.asked
        waiting = [asyncio.create_task(status_of(http, token_of("second"))) for _ in range(20)]

        assert [await status_of(http, known) for _ in range(5)] == [200] * 5
        # The wait is bounded, though the answer has not come.
        assert await asyncio.gather(*waiting) == [401] * 20
        assert provider.asked == asked + 1
        released.set()
        assert await becomes(200, lambda: status_of(http, token_of("second")))


async def test_flood_of_unknown_keys_is_refused_and_costs_the_provider_next_to_nothing(
    served, provider, token_of
):
    provider.add_key("thief", number=9)
    forged = [token_of("thief", header={"kid": f"unknown {n}"}) for n in range(400)]

    async with served() as http:
        known = token_of("first")
        assert await status_of(http, known) == 200
        asked, began = provider.asked, time.monotonic()
        floods = [asyncio.create_task(status_of(http, token)) for token in forged]
        answers = [await status_of(http, known) for _ in range(50)]
        refused = await asyncio.gather(*floods)

    assert set(answers) == {200}
    assert set(refused) == {401}
    # Ten at once, and one in a second.
    assert provider.asked - asked <= 11 + (time.monotonic() - began)
