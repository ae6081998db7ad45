"""Imports that stop at any moment, and go on somewhere else: no row twice, none left out."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextvars import Context
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import pytest

from saas import context
from saas.app import RESOURCES
from saas.context import acting_as
from saas.db.bulk_target import bulk_target
from saas.db.database import Database
from saas.db.imports import pieces, records, upload
from saas.db.imports.head import SourceWish
from saas.db.imports.job import ImportJob
from saas.db.imports.run import work
from saas.db.imports.service import ImportService, ImportWish, imports
from saas.db.imports.tables import ImportRead
from saas.db.transaction import transaction
from saas.errors import TenantSuspended
from twins import someone

# Texts of several lines, so that pieces end in the middle of rows too.
FILE = "name,description\n" + "".join(
    f'Project {n:03},"one\nand {"x" * (n % 60)}"\n' if n % 11 else "X,too short\n"
    for n in range(1, 200)
)
GOOD, BAD = 181, 18
ROWS = "SELECT name, count(*) FROM projects GROUP BY name ORDER BY name"


async def nothing() -> None:
    pass


class Stops:
    """The check of a job that stops it at its n-th piece, as a kill would: without a word."""

    def __init__(self, at: int) -> None:
        self.left = at

    async def __call__(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise ArithmeticError


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "PIECE_BYTES", 700)


@pytest.fixture
async def database(library: Any) -> AsyncIterator[Database]:
    async with Database(library.url("saas_app"), size=4) as database:
        with acting_as(someone()):
            yield database


@pytest.fixture
def service(database: Database) -> ImportService:
    targets = {resource.name: bulk_target(resource) for resource in RESOURCES}
    return ImportService(database, targets, max_bytes=10**6, check=nothing)


async def received(service: ImportService, **options: Any) -> UUID:
    async def body() -> AsyncIterator[bytes]:
        yield FILE.encode()

    source = SourceWish(format="csv")
    wish = ImportWish(resource="projects", source=source, **options)
    got = await service.receive(wish, body(), length=None)
    async with transaction(service.database):
        await records.change(got.id, got.worker, status="running", digest=got.digest)
    return got.id


async def job_of(service: ImportService, id: UUID, check: Any = nothing) -> ImportJob:
    """The work of a process that has just taken the import up."""
    worker = uuid4()
    async with transaction(service.database):
        record = await records.load(id)
        await records.change(id, record.worker, worker=worker)
    return ImportJob(
        service.database, service.target("projects"), id, worker, check, lambda _: None
    )


async def stands(service: ImportService, id: UUID) -> ImportRead:
    async with transaction(service.database, read_only=True):
        return await imports.get(id)


async def fetched(service: ImportService, sql: str) -> list[tuple[Any, ...]]:
    async with transaction(service.database, read_only=True) as reading:
        return [tuple(row) for row in await reading.fetch(sql)]


async def assert_whole(service: ImportService, id: UUID) -> None:
    done = await stands(service, id)
    assert (done.status, done.detail) == ("done", None)
    assert (done.rows_read, done.inserted, done.failed) == (GOOD + BAD, GOOD, BAD)
    assert await fetched(service, ROWS) == [(f"Project {n:03}", 1) for n in range(1, 200) if n % 11]
    lines = "SELECT line FROM import_errors ORDER BY line"
    starts = [n for n, line in enumerate(FILE.split("\n"), start=1) if line.startswith("X,")]
    assert [line for (line,) in await fetched(service, lines)] == starts
    entries = "SELECT count(*), count(DISTINCT entity_id) FROM audit_log"
    assert await fetched(service, entries) == [(GOOD, GOOD)]
    assert await fetched(service, "SELECT count(*) FROM import_chunks") == [(0,)]


@pytest.mark.parametrize("mode", ["partial", "atomic"])
async def test_an_import_that_stops_at_any_piece_ends_row_exact(
    service: ImportService, mode: str
) -> None:
    id = await received(service, mode=mode)
    for at in (0, 1, 3, 0, 5):
        with pytest.raises(ArithmeticError):
            await work(await job_of(service, id, Stops(at)))

    await work(await job_of(service, id))

    if mode == "partial":
        await assert_whole(service, id)
    else:
        done = await stands(service, id)
        assert (done.status, done.failed, done.inserted) == ("failed", BAD, 0)
        assert await fetched(service, "SELECT count(*) FROM import_errors") == [(BAD,)]
        assert await fetched(service, "SELECT count(*) FROM audit_log") == [(0,)]


async def test_a_connection_that_is_lost_at_any_moment_costs_nothing(
    service: ImportService, library: Any
) -> None:
    id = await received(service)
    working = asyncio.create_task(work(await job_of(service, id)))
    own = "SELECT pid FROM pg_stat_activity WHERE datname = 'library' AND usename = 'saas_app'"
    with library.connect(autocommit=True) as administrator:
        for _ in range(3):
            await asyncio.sleep(random.uniform(0, 0.05))
            for (pid,) in administrator.execute(own).fetchall():
                administrator.execute("SELECT pg_terminate_backend(%s)", [pid])

    await working

    await assert_whole(service, id)


async def test_who_was_left_behind_writes_no_more(service: ImportService) -> None:
    id = await received(service)
    behind = await job_of(service, id)
    ahead = await job_of(service, id)

    await asyncio.gather(work(behind), work(ahead))

    await assert_whole(service, id)


async def test_two_at_work_do_the_work_of_one(service: ImportService) -> None:
    id = await received(service)
    job = await job_of(service, id)

    await asyncio.gather(work(job), work(job), work(job))

    await assert_whole(service, id)


async def test_an_atomic_import_that_was_taken_up_elsewhere_commits_nothing(
    service: ImportService, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = await received(service, mode="atomic")
    behind = await job_of(service, id)

    async def taken_up_at_the_end() -> None:
        if (await records.peek(id)).worker == behind.worker and not taken:
            taken.append(await job_of_another())

    async def job_of_another() -> UUID:
        other = uuid4()
        await records.change(id, behind.worker, worker=other)
        return other

    taken: list[UUID] = []
    await work(behind._replace(check=taken_up_at_the_end))

    assert taken
    assert (await stands(service, id)).status == "running"
    assert await fetched(service, "SELECT count(*) FROM projects") == [(0,)]


async def test_a_tenant_that_may_not_go_on_stops_at_the_next_piece(
    service: ImportService,
) -> None:
    id = await received(service)

    class Suspends(Stops):
        async def __call__(self) -> None:
            try:
                await super().__call__()
            except ArithmeticError:
                raise TenantSuspended from None

    with pytest.raises(TenantSuspended):
        await work(await job_of(service, id, Suspends(3)))

    assert len(await fetched(service, ROWS)) < GOOD
    await work(await job_of(service, id))
    await assert_whole(service, id)


async def test_pieces_are_gone_as_their_rows_go_in(service: ImportService) -> None:
    id = await received(service)
    (before,) = await fetched(service, "SELECT count(*) FROM import_chunks")
    with pytest.raises(ArithmeticError):
        await work(await job_of(service, id, Stops(4)))

    (after,) = await fetched(service, "SELECT count(*) FROM import_chunks")

    assert before[0] - after[0] == 4
    async with transaction(service.database, read_only=True):
        record = await records.peek(id)
        assert (record.next_chunk, record.chunks) == (4, before[0])
        assert await pieces.fetch(id, 4) == FILE.encode()[2_800:3_500]


async def test_the_same_file_of_another_tenant_holds_nobody_up(database: Database) -> None:
    digest = uuid4().bytes * 2

    async def ask_as_another() -> UUID | None:
        with acting_as(someone()):
            async with transaction(database):
                return await records.same_as(digest)

    async with transaction(database):
        await records.same_as(digest)
        # In a task: the transaction here is not its own.
        other = asyncio.create_task(ask_as_another(), context=Context())

        assert await asyncio.wait_for(other, 10) is None


async def test_long_imports_take_turns_piece_by_piece(service: ImportService) -> None:
    written: list[UUID] = []

    async def note() -> None:
        written.append(context.principal().tenant_id)

    tenants, works, slot = [someone(), someone()], [], asyncio.Semaphore(1)
    for tenant in tenants:
        with acting_as(tenant):
            job = await job_of(service, await received(service), note)
            works.append(asyncio.create_task(work(job, slot)))
    await asyncio.gather(*works)

    first, second = (tenant.tenant_id for tenant in tenants)
    assert written.count(first) == written.count(second) > 10
    turns = [one != next_one for one, next_one in pairwise(written)]
    # The first may be alone until the file of the second is here.
    last_of_first = len(written) - 1 - written[::-1].index(first)
    assert all(turns[written.index(second) : last_of_first])
