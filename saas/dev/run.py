"""`saas dev`: database, migration, demo tenants and server, started and stopped as one."""

import asyncio
import os
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from types import FrameType

from rich.console import Console

from saas.dev.child import Child
from saas.dev.demo import DemoTenant, keep_tenants, kept_tenants
from saas.dev.greeting import base_url, greet
from saas.dev.home import recorded_home
from saas.dev.lock import installation_lock
from saas.dev.postgres import EmbeddedPostgres
from saas.dev.postmaster import find_postmaster
from saas.dev.running import embedded_server, running_database
from saas.errors import ConfigurationError
from saas.installation import resolved
from saas.listening import refuse_taken_port
from saas.settings import Settings

_REFUSED = 2
_no_proxy = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_TICK_SECONDS = 0.05
_TICKS_BETWEEN_LOOKS = 20


def run(settings: Settings, console: Console, child: Child) -> int:
    """Let `child` serve until Ctrl-C or SIGTERM, then stop all of it. The exit code: 0 when it was
    stopped on request. Raises ConfigurationError where something is in the way."""
    stop = _StopRequested()
    with stop.listening():
        try:
            code = _run(settings, console, stop, child)
        except ConfigurationError:
            # Ctrl-C in a terminal also reaches the initdb of a first start, which then fails.
            if not stop.is_set:
                raise
    if stop.is_set:
        return 0
    # A refusal has said its line.
    if code != _REFUSED:
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        console.print(f"The server ended by itself ({how}), so all of it is stopped.")
    return max(code, 1)


class _StopRequested:
    """SIGINT, SIGTERM and a closed terminal as a flag, so that the stop is orderly wherever they
    arrive."""

    def __init__(self) -> None:
        self.is_set = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        numbers = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # So it is under nohup.
            numbers.append(signal.SIGHUP)
        before = {number: signal.signal(number, self._note) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.is_set = True


def _run(settings: Settings, console: Console, stop: _StopRequested, child: Child) -> int:
    """Serve until asked to stop; the exit code of the server."""
    if not settings.is_embedded:
        with running_database(settings, console, prepare=True) as ready:
            refuse_taken_port(ready)
            return _serve(ready, stop, child, greet=partial(greet, ready, [], console))
    with installation_lock(settings.data_path), embedded_server(settings, console) as server:
        ready = resolved(settings)
        refuse_taken_port(ready)
        demo = _demo_tenants(ready)
        return _serve(
            ready,
            stop,
            child,
            greet=partial(greet, ready, demo, console),
            look_after=partial(_revive, server, ready, console),
        )


def _demo_tenants(settings: Settings) -> list[DemoTenant]:
    """Made on the first start."""
    file = settings.data_path / "demo.json"
    made = kept_tenants(file)
    if made is None:
        # Not at the top: it needs all of the features, and no other start does.
        from saas.dev.seed import seed  # noqa: PLC0415

        made = asyncio.run(seed(settings))
        if made:
            keep_tenants(file, made)
    return made


def _serve(
    settings: Settings,
    stop: _StopRequested,
    child: Child,
    *,
    greet: Callable[[], None],
    look_after: Callable[[], None] = lambda: None,
) -> int:
    child.serve(settings)
    is_greeted = False
    try:
        for tick in count():
            if child.exit_code is not None or stop.is_set:
                break
            if not is_greeted and _is_ready(settings):
                greet()
                is_greeted = True
            if tick % _TICKS_BETWEEN_LOOKS == 0:
                look_after()
            time.sleep(_TICK_SECONDS)
    finally:
        # Before the database.
        child.end()
    return child.exit_code or 0


def _is_ready(settings: Settings) -> bool:
    try:
        # Whatever proxy the environment names, this is our own address.
        with _no_proxy.open(f"{base_url(settings)}/readyz", timeout=2):
            return True
    except OSError:
        return False


def _revive(server: EmbeddedPostgres, settings: Settings, console: Console) -> None:
    """Start the database anew where it was killed; the API answers 503 meanwhile."""
    data_dir = Path(os.path.realpath(settings.data_path))
    if find_postmaster(recorded_home(data_dir) / "pg") is None:
        console.print("The database has ended; it is started again.")
        server.start()
