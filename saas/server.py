"""The HTTP server around the app: granian by default, uvicorn by choice."""

import os
import signal
import tempfile
import threading
import time
from contextlib import ExitStack

import uvicorn
from granian import Granian
from granian.constants import Interfaces, Loops

from saas.installation import as_environment
from saas.settings import Settings

_APP = "saas.app:create_app"
_GRACE_SECONDS = 20


def serve(settings: Settings, *, stop_with_parent: bool = False) -> None:
    """Serve until SIGTERM or SIGINT; requests in flight are answered first. `settings` must be
    resolved; the workers read them from the environment."""
    os.environ.update(as_environment(settings))
    if stop_with_parent:
        _watch_parent()
    with ExitStack() as stack:
        if settings.workers > 1:
            # Each worker counts for itself; the scrape adds them up from here.
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="saas-metrics-"))
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        if settings.server == "uvicorn":
            _serve_uvicorn(settings)
        else:
            _serve_granian(settings)


def _serve_granian(settings: Settings) -> None:
    Granian(
        _APP,
        factory=True,
        address=settings.host,
        port=settings.port,
        interface=Interfaces.ASGI,
        loop=Loops.uvloop if os.name == "posix" else Loops.auto,
        workers=settings.workers,
        websockets=False,
        respawn_failed_workers=True,
        workers_kill_timeout=_GRACE_SECONDS,
        log_access=False,
        log_level="warning",  # type: ignore[arg-type]  # the enum's value
    ).serve()


def _serve_uvicorn(settings: Settings) -> None:
    uvicorn.run(
        _APP,
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        # A fresh context per request: no tenant can survive in a contextvar.
        reset_contextvars=True,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        server_header=False,
        access_log=False,
        log_level="warning",
        proxy_headers=False,
    )


def _watch_parent() -> None:
    """Stop with the process that started this one, even when that one is killed."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True, name="watch-parent").start()
