"""The tasks of a server that count: what is wrong with one run does not end them."""

import asyncio

import pytest
from structlog.testing import capture_logs

from saas.errors import Unavailable
from saas.usage import counting as tasks


@pytest.mark.parametrize(
    ("error", "told"),
    [
        pytest.param(Unavailable(), ("usage_task_put_off", "warning", False), id="no database"),
        pytest.param(ValueError(), ("usage_task_failed", "error", True), id="a fault of its own"),
    ],
)
async def test_a_run_that_fails_is_told_and_followed_by_the_next(error, told) -> None:
    runs = 0
    again = asyncio.Event()

    async def work() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise error
        again.set()

    with capture_logs() as logs:
        task = asyncio.create_task(tasks._for_ever("fold", work, 0, 0))
        await asyncio.wait_for(again.wait(), 20)
        task.cancel()

    (entry,) = logs
    assert (entry["event"], entry["log_level"], "exc_info" in entry) == told
    assert entry["task"] == "fold"
