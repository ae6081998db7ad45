"""A pool of self-binding connections: thin, because it is on the path of every request.

A read-only transaction has nothing to commit, so its connection comes back with the transaction
still open, and the COMMIT travels with the next BEGIN in one message: a round trip less for each
read. A connection that nobody takes again is ended after a few milliseconds by `_sweep`.
"""

import asyncio
from collections.abc import Hashable
from contextvars import Context

import asyncpg

from saas.db.connection import TenantConnection, connect
from saas.db.error_mapping import FAILURES
from saas.db.lanes import Lanes, LaneSizes, Place
from saas.db.long_reads import LongReads
from saas.errors import ConfigurationError, TooManyAtOnce, Unavailable

_LINGER_SECONDS = 0.05
_CLOSE_SECONDS = 5
_LOOK_AGAIN_SECONDS = 0.05


class Pool:
    """At most `size` connections; who finds none free in time is refused, not queued for ever. One
    tenant has at most `lane_size` of them while others are at work, and alone all but a fifth,
    which whoever comes next finds free; with None it may have all."""

    def __init__(
        self,
        url: str,
        connection_class: type[TenantConnection],
        *,
        size: int,
        acquire_timeout_seconds: float,
        lane_size: int | None = None,
    ) -> None:
        self._url = url
        self._connection_class = connection_class
        self._size = size
        self._acquire_timeout_seconds = acquire_timeout_seconds
        self.long_reads = LongReads(size, lane_size or size)
        self._free: list[TenantConnection] = []
        # Who waits gets a connection, or a place to connect on.
        self._lanes: Lanes[TenantConnection | Place] = Lanes(_lane_sizes(size, lane_size))
        self._connected = 0
        self._is_sweeping = False
        self._is_looking_again = False
        self._is_closed = False
        self._ending: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Make the first connection. Raises ConfigurationError when the server can't be reached."""
        try:
            self._connected += 1
            self.release(await self._connect(self._lanes.enter(None)))
        except (OSError, TimeoutError, asyncpg.PostgresError, ValueError) as error:
            raise ConfigurationError(f"cannot connect to the database: {error}") from error

    async def acquire(self, lane: Hashable = None) -> TenantConnection:
        """A connection to begin on. Raises Unavailable when none is free in time, TooManyAtOnce
        where that is because `lane` has all that it may have."""
        if self._lanes.has_room(lane) and not self._lanes.is_waited_in(lane):
            while self._free:
                # The one used last: its caches are warm.
                connection = self._free.pop()
                if not connection.is_closed():
                    connection.place = self._lanes.enter(lane)
                    return connection
                self._connected -= 1
            if self._connected < self._size:
                self._connected += 1
                return await self._connect(self._lanes.enter(lane))
        given = await self._wait(lane)
        return await self._connect(given) if isinstance(given, Place) else given

    def is_alone(self, lane: Hashable) -> bool:
        """Whether no other tenant has or wants a connection, or had one in the last two seconds."""
        return self._lanes.is_alone(lane)

    def release(self, connection: TenantConnection) -> None:
        """Take a connection back that has ended its transaction, or lingers in a read-only one."""
        if connection.is_closed() or self._is_closed:
            self.discard(connection)
            return
        self._lanes.leave(connection.place)
        self._hand_on(connection)

    def discard(self, connection: TenantConnection) -> None:
        """Throw a connection away whose state is unknown; its place is free."""
        connection.terminate()
        self._give_up_place(connection.place)

    async def close(self) -> None:
        """Close the free connections; the others close when they come back."""
        self._is_closed = True
        for waiter in self._lanes.waiting():
            _refuse(waiter, Unavailable())
        if self._ending:
            await asyncio.wait(self._ending)
        while self._free:
            connection = self._free.pop()
            try:
                await connection.close(timeout=_CLOSE_SECONDS)
            except FAILURES:
                connection.terminate()

    async def _connect(self, place: Place) -> TenantConnection:
        """A new connection on a place that is counted already."""
        try:
            connection = await connect(self._url, self._connection_class)
        except BaseException:
            self._give_up_place(place)
            raise
        connection.place = place
        return connection

    def _hand_on(self, connection: TenantConnection) -> None:
        """Keep a connection that is in no lane, and give what is free to those next in turn."""
        self._free.append(connection)
        self._serve_waiting()
        if self._free and connection.lingers:
            connection.idle_since = asyncio.get_running_loop().time()
            self._sweep_later()

    def _give_up_place(self, place: Place) -> None:
        """The connection there is lost: its place is for whoever is next in turn."""
        self._lanes.leave(place)
        self._connected -= 1
        self._serve_waiting()

    def _serve_waiting(self) -> None:
        """Give what is free, connections before places, to those next in turn."""
        while self._free or self._connected < self._size:
            if self._free and self._free[-1].is_closed():
                self._free.pop()
                self._connected -= 1
                continue
            turn = self._lanes.next_in_turn()
            if turn is None:
                break
            place, waiter = turn
            if self._free:
                connection = self._free.pop()
                connection.place = place
                waiter.set_result(connection)
            else:
                self._connected += 1
                waiter.set_result(place)

    async def _wait(self, lane: Hashable) -> TenantConnection | Place:
        """The next connection that is given back, or a place to connect on instead."""
        waiter = self._lanes.line_up(lane)
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._acquire_timeout_seconds, self._expire, lane, waiter)
        self._serve_waiting()
        self._look_again_later()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                # Handed over in the very moment in which the request was cancelled.
                handed = waiter.result()
                if isinstance(handed, Place):
                    self._give_up_place(handed)
                else:
                    self.release(handed)
            raise
        finally:
            timer.cancel()
            self._lanes.step_out(lane, waiter)

    def _expire(self, lane: Hashable, waiter: "asyncio.Future[TenantConnection | Place]") -> None:
        self._serve_waiting()
        if self._lanes.has_room(lane):
            _refuse(waiter, Unavailable("Every database connection is busy."))
        else:
            _refuse(waiter, TooManyAtOnce())

    def _look_again_later(self) -> None:
        """A lane gets room by mere time too, of which nothing that comes back tells."""
        is_free = self._free or self._connected < self._size
        if is_free and not self._is_looking_again and self._lanes.waiting():
            self._is_looking_again = True
            asyncio.get_running_loop().call_later(
                _LOOK_AGAIN_SECONDS, self._look_again, context=Context()
            )

    def _look_again(self) -> None:
        self._is_looking_again = False
        self._serve_waiting()
        self._look_again_later()

    def _sweep_later(self) -> None:
        if not self._is_sweeping:
            self._is_sweeping = True
            # An empty context: the timer must not carry the tenant of the request that set it.
            asyncio.get_running_loop().call_later(_LINGER_SECONDS, self._sweep, context=Context())

    def _sweep(self) -> None:
        self._is_sweeping = False
        loop = asyncio.get_running_loop()
        before = loop.time() - _LINGER_SECONDS / 2
        lingering = [c for c in self._free if c.lingers]
        for connection in lingering:
            if connection.idle_since < before:
                self._free.remove(connection)
                task = loop.create_task(self._end(connection))
                self._ending.add(task)
                task.add_done_callback(self._ending.discard)
        if lingering:
            self._sweep_later()

    async def _end(self, connection: TenantConnection) -> None:
        # No lane's: whoever is next takes it from here.
        connection.place = self._lanes.enter(None)
        try:
            await connection.end_lingering()
        except FAILURES:
            self.discard(connection)
        else:
            self.release(connection)


def _lane_sizes(size: int, lane_size: int | None) -> LaneSizes | None:
    if lane_size is None or lane_size >= size:
        return None
    return LaneSizes(alone=max(lane_size, size - max(1, size // 5)), among_others=lane_size)


def _refuse(
    waiter: "asyncio.Future[TenantConnection | Place]", refusal: Unavailable | TooManyAtOnce
) -> None:
    if not waiter.done():
        waiter.set_exception(refusal)
