"""The requests of each tenant, counted in memory and written every few seconds, by each process for
itself (docs/usage.md).

A process that is killed loses what it has counted since its last write; one that stops writes it.
Where the database is away, requests go on and the counts are kept. A write whose answer was lost is
known by its number when it is sent again, and counts once.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple, TypeAlias
from uuid import uuid4

import msgspec
import structlog

from saas.background import in_background
from saas.db.database import Database
from saas.db.error_mapping import FAILURES
from saas.db.transaction import platform_transaction
from saas.errors import SaasError
from saas.usage.latency import bucket_of
from saas.usage.request_statements import FORGET_WRITERS, SHARE_WRITING, WRITE, WRITING

_STOP_SECONDS = 5
# While the database is away: some hours of a busy process, some tens of megabytes.
_MOST_KEPT = 100_000
# What is put into words at once holds up requests for some milliseconds.
_BATCH_ROWS = 2_000

_Key: TypeAlias = tuple[str, int, str, int, str]


class _Counts:
    """Requests of one minute that differ in nothing that is counted apart."""

    __slots__ = ("bytes_in", "bytes_out", "latency", "requests")

    def __init__(self) -> None:
        self.requests = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.latency: dict[int, int] = {}


class _Batch(NamedTuple):
    """Counts on their way: until they are known to have arrived, they stay together."""

    number: int
    counts: list[tuple[_Key, _Counts]]

    @property
    def requests(self) -> int:
        return sum(counts.requests for _, counts in self.counts)


class RequestMeter:
    """The counts of one process."""

    def __init__(self, database: Database, *, interval_seconds: float) -> None:
        self._database = database
        self._interval_seconds = interval_seconds
        self._id = uuid4()
        self._counts: dict[_Key, _Counts] = {}
        self._batches: deque[_Batch] = deque()
        self._last_number = 0
        self._has_tidied = False

    def count(
        self, whose: tuple[str, str], route: str, status: int, seconds: float, size: tuple[int, int]
    ) -> None:
        """On the path of every request: `whose` is tenant and actor, `size` the bytes in and
        out."""
        tenant, actor = whose
        kind = actor.partition(":")[0]
        key = (tenant, int(time.time() // 60), route, status // 100, kind)
        counts = self._counts.get(key)
        if counts is None:
            counts = self._counts[key] = _Counts()
        counts.requests += 1
        counts.bytes_in += size[0]
        counts.bytes_out += size[1]
        bucket = bucket_of(seconds)
        counts.latency[bucket] = counts.latency.get(bucket, 0) + 1

    @asynccontextmanager
    async def written(self) -> AsyncIterator[None]:
        """Write inside the block, and what is left at its end; never with an interval of 0."""
        if not self._interval_seconds:
            yield
            return
        try:
            async with in_background(self._write_for_ever()):
                yield
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(_STOP_SECONDS):
                    await self.write()
            if left := self._waiting():
                _log.error("usage_lost", requests=left)

    async def write(self) -> None:
        """Write what is counted by now. What cannot be written is kept for the next time."""
        try:
            await self._send_batches()
            # Once: what comes meanwhile waits for the next time, or a busy process would write
            # without a pause.
            self._take()
            await self._send_batches()
        except (SaasError, *FAILURES) as error:
            _log.warning("usage_not_written", error=type(error).__name__)
            if self._batches and len(self._counts) > _MOST_KEPT:
                _log.error("usage_lost", requests=sum(batch.requests for batch in self._batches))
                self._batches.clear()

    def _take(self) -> None:
        counts, self._counts = [*self._counts.items()], {}
        for first in range(0, len(counts), _BATCH_ROWS):
            self._last_number += 1
            batch = _Batch(self._last_number, counts[first : first + _BATCH_ROWS])
            self._batches.append(batch)

    def _waiting(self) -> int:
        on_their_way = sum(batch.requests for batch in self._batches)
        return on_their_way + sum(counts.requests for counts in self._counts.values())

    async def _send_batches(self) -> None:
        while self._batches:
            batch = self._batches[0]
            await self._send(batch)
            # Unless somebody else was at it, too.
            if self._batches and self._batches[0] is batch:
                self._batches.popleft()

    async def _send(self, batch: _Batch) -> None:
        rows = msgspec.json.encode([_row(*key, counts) for key, counts in batch.counts]).decode()
        async with platform_transaction(self._database) as work:
            # A statement of its own: only a snapshot that is taken under the lock shows that a
            # tenant has been purged.
            await work.fetch(SHARE_WRITING, [WRITING])
            await work.fetch(WRITE, [self._id, batch.number, rows])

    async def _write_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._interval_seconds)
            try:
                await self.write()
                await self._forget_writers()
            except Exception as error:  # Whatever it is, the requests that come are counted.
                _log.warning("usage_not_written", exc_info=error)

    async def _forget_writers(self) -> None:
        if not self._has_tidied:
            async with platform_transaction(self._database) as work:
                await work.fetch(FORGET_WRITERS)
            self._has_tidied = True


def _row(
    tenant: str, minute: int, route: str, status: int, kind: str, counts: _Counts
) -> dict[str, Any]:
    return {
        "tenant": tenant,
        "minute": minute,
        "route": route,
        "status": status,
        "kind": kind,
        "requests": counts.requests,
        "bytes_in": counts.bytes_in,
        "bytes_out": counts.bytes_out,
        "latency_buckets": list(counts.latency),
        "latency_counts": list(counts.latency.values()),
    }


_log = structlog.get_logger()
