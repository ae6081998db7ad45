"""One issuer's keys as they are now, read off the path of any request.

A key in hand is found at once, whatever the issuer does. An unknown one makes its request wait a
little for a reading that begins after it, so that a key which is new works the first time. There
are only so many such readings, and only so many may wait for them.
"""

import asyncio
import time

import structlog

from saas.auth.issuers_file import Issuer
from saas.auth.key_set import NO_KEYS, KeySet, read_key_set
from saas.auth.key_source import Load
from saas.auth.signing_key import VerificationKey

# How long keys are used whose issuer cannot be reached. For ever would let a stolen key live on
# wherever its thief keeps us from reading that it is gone.
KEPT_SECONDS = 24 * 60 * 60
WAIT_SECONDS = 2
_RETRY_SECONDS = 15
# Readings for unknown keys: some at once, then one in a while, which is less than the wait.
_BURST = 10
_SECONDS_PER_READING = 1.0
_MOST_WAITING = 100


class IssuerKeys:
    """The keys of `issuer`, which `load` reads. Nothing is read unless `refresh_for_ever` runs."""

    def __init__(self, issuer: Issuer, load: Load, known: KeySet = NO_KEYS) -> None:
        self._issuer = issuer
        self._load = load
        self._keys = known
        self._read_at = time.monotonic()
        self._is_failing = False
        self._wanted = asyncio.Event()
        # Done when the reading has ended that runs now, and the one that begins next; None where
        # there is none, as while nobody reads.
        self._running: asyncio.Future[None] | None = None
        self._next: asyncio.Future[None] | None = None
        self._ration = _Ration()
        self._waiting = 0

    async def find(self, key_id: str | None) -> VerificationKey | None:
        """The key of this name, None where the issuer has none. Returns within WAIT_SECONDS."""
        key = self._keys.find(key_id)
        if key is not None or self._next is None or self._waiting >= _MOST_WAITING:
            return key
        self._waiting += 1
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                return await self._find_later(key_id)
        except TimeoutError:
            return self._keys.find(key_id)
        finally:
            self._waiting -= 1

    async def _find_later(self, key_id: str | None) -> VerificationKey | None:
        # asyncio.wait, because a caller that goes away must not cancel what the others wait for.
        if self._running is not None:
            await asyncio.wait([self._running])
        key = self._keys.find(key_id)
        if key is None and self._next is not None:
            # That one may have begun before the key was there.
            self._wanted.set()
            await asyncio.wait([self._next])
            key = self._keys.find(key_id)
        return key

    async def refresh_for_ever(self) -> None:
        """Read the keys now, and again and again."""
        self._next = asyncio.get_running_loop().create_future()
        try:
            while True:
                self._running, self._next = self._next, asyncio.get_running_loop().create_future()
                self._wanted.clear()
                await self._refresh()
                self._running.set_result(None)
                self._running = None
                pause = self._issuer.refresh_seconds
                await self._until_wanted(min(pause, _RETRY_SECONDS) if self._is_failing else pause)
        finally:
            self._running = self._next = None

    async def _until_wanted(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wanted.wait()
        except TimeoutError:
            return
        # Whoever comes meanwhile waits for the same reading.
        await asyncio.sleep(self._ration.take())

    async def _refresh(self) -> None:
        try:
            keys = read_key_set(await self._load(), self._issuer.algorithms)
        except Exception as error:  # Whatever it is, the next reading must come.
            self._keep(error)
            return
        if self._is_failing or keys.by_id.keys() != self._keys.by_id.keys():
            self._log("info", "issuer_keys_read", key_ids=sorted(keys.by_id))
        self._keys, self._read_at, self._is_failing = keys, time.monotonic(), False

    def _keep(self, error: Exception) -> None:
        if not self._is_failing:
            self._log(
                "warning", "issuer_keys_unavailable", reason=f"{type(error).__name__}: {error}"
            )
        self._is_failing = True
        if self._keys != NO_KEYS and time.monotonic() - self._read_at > KEPT_SECONDS:
            self._keys = NO_KEYS
            self._log("error", "issuer_keys_given_up", kept_seconds=KEPT_SECONDS)

    def _log(self, level: str, event: str, **fields: object) -> None:
        getattr(structlog.get_logger(), level)(event, issuer=self._issuer.issuer, **fields)


class _Ration:
    """The generic cell rate algorithm, for one caller: `_BURST` at once, then one in a while."""

    def __init__(self) -> None:
        self._due_at = 0.0

    def take(self) -> float:
        """How many seconds to wait before one more."""
        now = time.monotonic()
        due_at = max(self._due_at, now)
        self._due_at = due_at + _SECONDS_PER_READING
        return max(0.0, due_at - now - (_BURST - 1) * _SECONDS_PER_READING)
