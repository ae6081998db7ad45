"""The keys of one issuer over time: what is kept, for how long, and what is asked for."""

import asyncio
import json
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from identity_provider import jwk_of, private_key
from saas.auth import issuer_keys
from saas.auth.issuer_keys import IssuerKeys
from saas.auth.issuers_file import Issuer

ISSUER = Issuer(issuer="i", audience="a", jwks_url="https://i/", tenant="t", refresh_seconds=86_400)


class Provider:
    """Where the keys come from. It answers when it may, and counts."""

    def __init__(self) -> None:
        self.names = ["first"]
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.is_up = True

    async def load(self) -> bytes:
        self.asked += 1
        # As they are when it is asked, not when the answer arrives.
        keys = [jwk_of("EdDSA", private_key("EdDSA"), name) for name in self.names]
        await self.may_answer.wait()
        if not self.is_up:
            raise ConnectionRefusedError("gone")
        return json.dumps({"keys": keys}).encode()


@asynccontextmanager
async def refreshed(provider, issuer=ISSUER):
    keys = IssuerKeys(issuer, provider.load)
    task = asyncio.create_task(keys.refresh_for_ever())
    # The task has begun to read, and not ended.
    await asyncio.sleep(0)
    try:
        yield keys
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_request_at_the_start_waits_for_the_first_reading():
    provider = Provider()
    provider.may_answer.clear()

    async with refreshed(provider) as keys:
        waiting = [asyncio.create_task(keys.find("first")) for _ in range(5)]
        await asyncio.sleep(0)
        provider.may_answer.set()

        assert [key.key_id for key in await asyncio.gather(*waiting)] == ["first"] * 5
    assert provider.asked == 1


async def test_key_that_comes_while_the_keys_are_read_is_found_by_the_next_reading():
    provider = Provider()

    async with refreshed(provider) as keys:
        assert await keys.find("first")
        provider.may_answer.clear()
        absent = asyncio.create_task(keys.find("absent"))
        await until(lambda: provider.asked == 2)
        # The answer that is on its way does not have it.
        provider.names.append("second")
        waiting = [asyncio.create_task(keys.find("second")) for _ in range(5)]
        await asyncio.sleep(0)
        provider.may_answer.set()

        assert [key.key_id for key in await asyncio.gather(*waiting)] == ["second"] * 5
        assert await absent is None
    assert provider.asked == 3


async def test_unknown_keys_are_rationed_and_a_known_one_never_waits(monkeypatch):
    monkeypatch.setattr(issuer_keys, "_SECONDS_PER_READING", 3_600)
    monkeypatch.setattr(issuer_keys, "WAIT_SECONDS", 0.05)
    provider = Provider()

    async with refreshed(provider) as keys:
        assert await keys.find("first")
        for number in range(issuer_keys._BURST + 5):
            assert await keys.find(f"unknown {number}") is None
        assert provider.asked == 1 + issuer_keys._BURST
        assert await keys.find("first")


async def test_new_key_is_found_at_once_also_when_the_ration_is_used_up(monkeypatch):
    monkeypatch.setattr(issuer_keys, "_SECONDS_PER_READING", 0.05)
    provider = Provider()

    async with refreshed(provider) as keys:
        assert await keys.find("first")
        for number in range(3 * issuer_keys._BURST):
            provider.names.append(f"key {number}")
            assert await keys.find(f"key {number}")


async def test_only_so_many_wait(monkeypatch):
    monkeypatch.setattr(issuer_keys, "_MOST_WAITING", 3)
    provider = Provider()

    async with refreshed(provider) as keys:
        assert await keys.find("first")
        provider.may_answer.clear()
        provider.names.append("second")
        waiting = [asyncio.create_task(keys.find("second")) for _ in range(5)]
        await until(lambda: provider.asked == 2)

        assert [task.done() for task in waiting] == [False] * 3 + [True] * 2
        provider.may_answer.set()
        found = await asyncio.gather(*waiting)
        assert [key is not None for key in found] == [True] * 3 + [False] * 2
        # Their places are free again.
        assert await keys.find("second")


async def test_caller_that_goes_away_takes_nothing_from_the_others():
    provider = Provider()

    async with refreshed(provider) as keys:
        assert await keys.find("first")
        provider.may_answer.clear()
        provider.names.append("second")
        gone, waiting = (asyncio.create_task(keys.find("second")) for _ in range(2))
        await until(lambda: provider.asked == 2)
        gone.cancel()
        await asyncio.sleep(0)
        provider.may_answer.set()

        assert await waiting
        assert gone.cancelled()


async def test_the_wait_is_bounded(monkeypatch):
    monkeypatch.setattr(issuer_keys, "WAIT_SECONDS", 0.05)
    provider = Provider()

    async with refreshed(provider) as keys:
        assert await keys.find("first")
        provider.may_answer.clear()

        assert await keys.find("unknown") is None
        # Behind a reading that runs, likewise.
        assert await keys.find("unknown") is None


async def test_keys_of_an_issuer_that_is_gone_are_kept_for_a_day_and_no_longer(monkeypatch):
    provider, clock = Provider(), [1_000_000.0]
    monkeypatch.setattr(issuer_keys, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    async with refreshed(provider) as keys:
        assert await keys.find("first")
        provider.is_up = False
        for hours, is_kept in ((1, True), (23.9, True), (24.1, False)):
            clock[0] = 1_000_000.0 + hours * 3_600
            await keys.find("unknown")
            assert (await keys.find("first") is not None) is is_kept
        clock[0] += 3_600
        provider.is_up = True
        assert await keys.find("first")


async def test_failed_reading_is_tried_again_before_the_interval(monkeypatch):
    monkeypatch.setattr(issuer_keys, "_RETRY_SECONDS", 0.01)
    provider = Provider()
    provider.is_up = False

    async with refreshed(provider) as keys:
        await until(lambda: provider.asked > 3)
        provider.is_up = True
        assert await keys.find("first")
        asked = provider.asked
        await asyncio.sleep(0.1)
        assert provider.asked == asked


async def test_unexpected_fault_does_not_end_the_readings(monkeypatch):
    monkeypatch.setattr(issuer_keys, "_RETRY_SECONDS", 0.01)
    faults = iter([RecursionError("deep"), ValueError("no"), KeyError("?")])
    provider = Provider()

    async def load():
        for fault in faults:
            raise fault
        return await provider.load()

    keys = IssuerKeys(ISSUER, load)
    task = asyncio.create_task(keys.refresh_for_ever())
    await until(lambda: provider.asked)

    assert await keys.find("first")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # Nobody reads any more, so nobody waits.
    assert await keys.find("unknown") is None


async def until(holds):
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - whatever it is that is to hold
            await asyncio.sleep(0.001)
