"""The log of a test of the web layer."""

import logging
from collections.abc import Iterator

import pytest
import structlog
from scratch import Log

from saas.web.logs import configure_logging, output


@pytest.fixture(autouse=True)
def log() -> Iterator[Log]:
    """What is logged during the test; the logging that was there before is back after it."""
    old, level = structlog.get_config(), logging.getLogger().level
    caught = Log()
    configure_logging("info", caught.stream)
    yield caught
    structlog.configure(**old)
    output.use(None)
    logging.getLogger().setLevel(level)
