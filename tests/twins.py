"""The async and the sync data layer behind one face, so that a test runs against either."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from inspect import isawaitable
from typing import Any
from uuid import uuid4

from saas.context import Principal
from saas.db import database as async_database
from saas.db import repository as async_repository
from saas.db import transaction as async_transaction
from saas.db.sync import database as sync_database
from saas.db.sync import repository as sync_repository
from saas.db.sync import transaction as sync_transaction


def someone(name: str = "test") -> Principal:
    """A principal of a tenant that nobody has seen before."""
    return Principal(tenant_id=uuid4(), actor=f"system:{name}")


async def maybe(value: Any) -> Any:
    """What `value` is or, in the async twin, becomes."""
    return await value if isawaitable(value) else value


async def each(rows: Any) -> AsyncIterator[Any]:
    if hasattr(rows, "__aiter__"):
        async for row in rows:
            yield row
    else:
        for row in rows:
            yield row


class Work:
    """A transaction of either twin."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    async def fetch(self, sql: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in await maybe(self.inner.fetch(sql))]

    async def commit(self) -> None:
        await maybe(self.inner.commit())


class Repository:
    """A repository of either twin."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self.inner, name)

        async def call(*arguments: Any, **options: Any) -> Any:
            return await maybe(method(*arguments, **options))

        return call

    def stream(self, *arguments: Any, **options: Any) -> AsyncIterator[Any]:
        return each(self.inner.stream(*arguments, **options))


class Twin:
    """One of the two, on pools of its own."""

    def __init__(self, name: str, urls: tuple[str, str]) -> None:
        self.is_async = name == "async"
        self._modules = (
            (async_database, async_transaction, async_repository)
            if self.is_async
            else (sync_database, sync_transaction, sync_repository)
        )
        self.database: Any = self._modules[0].Database(*urls, size=2, acquire_timeout_seconds=1)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["Twin"]:
        async with either(self.database):
            yield self

    @asynccontextmanager
    async def transaction(self, *, read_only: bool = False) -> AsyncIterator[Work]:
        async with either(self._modules[1].transaction(self.database, read_only=read_only)) as work:
            yield Work(work)

    @asynccontextmanager
    async def unit_of_work(self) -> AsyncIterator[Work]:
        """A transaction that its user commits."""
        async with either(self._modules[1].Transaction(self.database.app)) as work:
            yield Work(work)

    @asynccontextmanager
    async def platform_transaction(self) -> AsyncIterator[Work]:
        async with either(self._modules[1].platform_transaction(self.database)) as work:
            yield Work(work)

    def current_transaction(self) -> Any:
        return self._modules[1].current_transaction()

    def repository(self, *arguments: Any, **options: Any) -> Repository:
        return Repository(self._modules[2].TenantRepository(*arguments, **options))


@asynccontextmanager
async def _entered(block: Any) -> AsyncIterator[Any]:
    with block as inner:
        yield inner


def either(block: Any) -> AbstractAsyncContextManager[Any]:
    """A context manager of either kind, as an async one."""
    return block if hasattr(block, "__aenter__") else _entered(block)
