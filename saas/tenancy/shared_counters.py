"""The rate limiter's counts for all processes and nodes together, in Redis or Valkey."""

import asyncio
import time
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

import structlog
from throttled.asyncio.rate_limiter.gcra import GCRARateLimiter
from throttled.asyncio.store import RedisStore
from throttled.exceptions import StoreUnavailableError
from throttled.rate_limiter import per_sec

from saas.errors import ConfigurationError
from saas.tenancy.rate_counters import Bucket, OwnCounters, Taken

_TIMEOUT_SECONDS = 0.25
# How long nobody asks a server that was not there.
_PAUSE_SECONDS = 2.0
_FAILURES = (StoreUnavailableError, OSError, TimeoutError)
_MOST_KINDS = 1_000


class _Store(RedisStore):
    async def close(self) -> None:
        with suppress(*_FAILURES):
            # The library knows its client by a few methods alone.
            client: Any = self._backend.get_client()
            await client.connection_pool.disconnect()


class SharedCounters:
    """Counts in the server at `url`. While that cannot be reached this process counts for itself:
    a limiter that is away must not take the API with it."""

    def __init__(self, url: str) -> None:
        if find_spec("redis") is None:
            raise ConfigurationError("SAAS_REDIS_URL needs the package redis: pip install redis")
        timeouts = {"SOCKET_TIMEOUT": _TIMEOUT_SECONDS, "SOCKET_CONNECT_TIMEOUT": _TIMEOUT_SECONDS}
        self._store = _Store(url, options=timeouts)
        self._own = OwnCounters()
        self._limiters: dict[Bucket, GCRARateLimiter] = {}
        self._is_away = False
        self._ask_again_at = 0.0
        try:
            self._limiter_of(Bucket(1, 1))
        except ValueError as error:
            raise ConfigurationError(f"SAAS_REDIS_URL: {error}") from None

    async def take(self, bucket: Bucket, key: str) -> Taken:
        if self._is_away:
            now = time.monotonic()
            if now < self._ask_again_at:
                return await self._own.take(bucket, key)
            # One request finds out whether it is back, at the price of a time-out.
            self._ask_again_at = now + _PAUSE_SECONDS
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                result = await self._limiter_of(bucket).limit(key)
        except _FAILURES as error:
            self._lose(error)
            return await self._own.take(bucket, key)
        if self._is_away:
            self._is_away = False
            structlog.get_logger().info("rate_limits_shared_again")
        state = result.state
        return Taken(result.limited, state.remaining, state.reset_after, state.retry_after)

    async def close(self) -> None:
        await self._store.close()

    def _limiter_of(self, bucket: Bucket) -> GCRARateLimiter:
        limiter = self._limiters.get(bucket)
        if limiter is None:
            if len(self._limiters) >= _MOST_KINDS:
                self._limiters.clear()
            quota = per_sec(bucket.per_second, burst=bucket.burst)
            limiter = GCRARateLimiter(quota, self._store, key_prefix="saas:rate")
            self._limiters[bucket] = limiter
        return limiter

    def _lose(self, error: Exception) -> None:
        self._ask_again_at = time.monotonic() + _PAUSE_SECONDS
        if not self._is_away:
            self._is_away = True
            cause = error.__cause__ if isinstance(error, StoreUnavailableError) else error
            reason = type(cause).__name__
            structlog.get_logger().warning("rate_limits_not_shared", reason=reason)
