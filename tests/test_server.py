"""What a worker makes of itself before it serves."""

import gc

import pytest

from saas.installation import as_environment
from saas.server import load_app
from saas.settings import Settings


def test_collector_does_not_walk_what_lives_as_long_as_the_worker(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in as_environment(settings).items():
        monkeypatch.setenv(name, value)

    app = load_app()

    try:
        assert not any(found is app for found in gc.get_objects())
    finally:
        gc.unfreeze()
    assert any(found is app for found in gc.get_objects())
