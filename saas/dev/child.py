"""`saas serve` as a child of `saas dev`. It loads its modules while the database is made ready."""

import pickle
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from saas.settings import Settings

_STOP_SECONDS = 30


class Child:
    """Serves once it has its settings, and stops with this process at the latest."""

    def __init__(self, settings: Settings) -> None:
        # Several workers need a variable before they load the app (`server.serve`).
        preload = ["--preload"] if settings.workers == 1 else []
        # Its own session, so that Ctrl-C reaches this process alone and the stop has one order.
        self._process = subprocess.Popen(  # noqa: S603 - our own module, no shell
            [sys.executable, "-m", "saas.cli", "serve", "--child", *preload],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def serve(self, settings: Settings) -> None:
        """`settings` must be resolved. They go through a pipe, which nobody else can read."""
        # One that has ended by itself is found by its exit code.
        with suppress(BrokenPipeError):
            assert self._process.stdin is not None  # noqa: S101 - it is a pipe
            # Pickled: JSON has no word for an infinite number, and not for every text.
            self._process.stdin.write(pickle.dumps(settings))
            self._process.stdin.flush()

    def end(self) -> None:
        """Requests in flight are answered first."""
        if self.exit_code is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def child_process(settings: Settings) -> Iterator[Child]:
    """Has ended when the block is left."""
    child = Child(settings)
    try:
        yield child
    finally:
        child.end()
