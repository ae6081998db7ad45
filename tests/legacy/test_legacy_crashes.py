"""A migration that is cut off at any point of a batch, and goes on: no row twice, none left out."""

import os
import stat
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from migrations import USERS, USERS_MAP, Job, rows_of, users
from saas.db.database import Database
from saas.db.outcomes import outcome_of, transaction_name
from saas.db.transaction import Transaction, transaction
from saas.errors import ConfigurationError
from saas.legacy.checkpoint import CheckpointFile, Pending, opened_checkpoint

Legacy = Callable[..., Engine]

pytestmark = pytest.mark.usefixtures("acting")

# Of each batch of four one is bad.
ROWS = [(n, "x" if n % 4 == 0 else f"user{n}", None, "Y") for n in range(1, 21)]


class Crash(BaseException):
    """What ends a process, as far as anything in it can notice."""


class _BeforePrepare(CheckpointFile):
    """The rows are written, and not committed; the bad rows are in their file."""

    def prepare(self, pending: Pending) -> None:
        raise Crash


class _BeforeCommit(CheckpointFile):
    """The checkpoint says that a transaction is on its way which never arrives."""

    def prepare(self, pending: Pending) -> None:
        super().prepare(pending)
        raise Crash


class _AfterCommit(CheckpointFile):
    """The checkpoint says that a transaction is on its way which has arrived."""

    def settle(self, *, is_committed: bool) -> None:
        raise Crash


class _Between(CheckpointFile):
    """A batch later."""

    def settle(self, *, is_committed: bool) -> None:
        super().settle(is_committed=is_committed)
        raise Crash


@pytest.mark.parametrize("crashing", [_BeforePrepare, _BeforeCommit, _AfterCommit, _Between])
async def test_run_after_a_crash_goes_on_exactly_where_it_was(
    legacy: Legacy,
    database: Database,
    tmp_path: Path,
    tenant: Any,
    crashing: type[CheckpointFile],
) -> None:
    job = Job(database, legacy(USERS, users=ROWS), tmp_path, USERS_MAP)

    crashes = 0
    for _ in range(3):
        with pytest.raises(Crash):
            await job.run(crashing)
        crashes += 1
        # Something of the batch that nobody vouches for.
        with job.errors.open("ab") as file:
            file.write(b"half a l")
    (outcome,) = await job.run()

    state = outcome.state
    assert (crashes, state.read, state.inserted, state.failed) == (3, 20, 15, 5)
    assert (outcome.in_tenant, state.before) == (15, 0)
    names = {row["name"] for row in await rows_of(tenant, "projects")}
    assert names == {f"user{n}" for n in range(1, 21) if n % 4}
    assert [row["key"] for row in job.bad()] == ["4", "8", "12", "16", "20"]


async def test_outcome_of_a_transaction_is_known_afterwards(database: Database) -> None:
    async with transaction(database):
        committed = await transaction_name()
    async with Transaction(database.app):
        aborted = await transaction_name()
    async with Transaction(database.app):
        running = await transaction_name()

        assert await outcome(database, running) == "in progress"
    assert await outcome(database, committed) == "committed"
    assert await outcome(database, aborted) == "aborted"
    assert await outcome(database, str(int(running) + 1_000_000)) is None


async def outcome(database: Database, name: str) -> str | None:
    async with Transaction(database.app, read_only=True):
        return await outcome_of(name)


async def test_batch_whose_outcome_nobody_knows_stops_the_migration(
    legacy: Legacy, database: Database, tmp_path: Path
) -> None:
    job = Job(database, legacy(USERS, users=users(3)), tmp_path, USERS_MAP)
    with opened_checkpoint(job.checkpoint, "test", restart=False) as checkpoint:
        checkpoint.prepare(Pending("9000000000000", checkpoint.position))

    with pytest.raises(ConfigurationError, match="nobody knows whether the last batch is in"):
        await job.run()


def test_checkpoint_outlives_a_loss_of_power(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First what is in the file, then its name: a folder is written for itself."""
    synced: list[bool] = []
    sync = os.fsync

    def watched(file: int) -> None:
        synced.append(stat.S_ISDIR(os.fstat(file).st_mode))
        sync(file)

    monkeypatch.setattr(os, "fsync", watched)
    with opened_checkpoint(tmp_path / "checkpoint", "of", restart=False) as checkpoint:
        checkpoint.prepare(Pending("7", checkpoint.position))

    assert synced == [False, True]


def test_checkpoint_belongs_to_one_migration_and_one_process(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.json"

    def refusal(of: str) -> str:
        with pytest.raises(ConfigurationError) as refused:
            ExitStack().enter_context(opened_checkpoint(path, of, restart=False))
        return str(refused.value)

    with opened_checkpoint(path, "one", restart=False) as checkpoint:
        checkpoint.settle(is_committed=True)
        assert "another process" in refusal("one")

    assert "another map, source or tenant" in refusal("two")
    with opened_checkpoint(path, "two", restart=True) as fresh:
        assert fresh.position.tables == ()
    path.write_text("{")
    assert "no checkpoint" in refusal("two")
