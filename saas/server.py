"""The HTTP server around the app: granian by default, uvicorn by choice."""

import gc
import multiprocessing
import os
import resource
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from importlib import import_module
from typing import Any

import uvicorn
from granian import Granian
from granian.constants import Interfaces, Loops

from saas.auth.external_issuers import external_issuers_from
from saas.auth.verification_keys import public_keys_of
from saas.db.doctor import check_installation
from saas.errors import ConfigurationError
from saas.installation import as_environment
from saas.listening import refuse_taken_port
from saas.settings import Settings

_APP = "saas.server:load_app"
_GRACE_SECONDS = 20
# Of one process, idle ones too. Granian stops at 1,024 unless it is told otherwise: so many that
# one caller keeps open, and does nothing with, would keep everybody else out.
_MOST_CONNECTIONS = 10_000


def serve(settings: Settings, *, stop_with_parent: bool = False) -> None:
    """Serve until SIGTERM or SIGINT; requests in flight are answered first. `settings` must be
    resolved; the workers read them from the environment. `stop_with_parent`: stop also at the end
    of standard input, a pipe that the parent holds. Raises ConfigurationError where the port, the
    settings or the database are not fit to serve."""
    if stop_with_parent:
        # Not sys.stdin: a thread inside it breaks the end of the interpreter.
        _stop_after(lambda: os.read(0, 1))
    environment = as_environment(settings)
    os.environ.clear()
    os.environ.update(environment)
    refuse_taken_port(settings)
    with ExitStack() as stack:
        if settings.workers > 1:
            # Each worker counts for itself; the scrape adds them up from here.
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="saas-metrics-"))
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        _refuse_faults(settings)
        _allow_files(_MOST_CONNECTIONS + 1_000)
        if settings.server == "uvicorn":
            _serve_uvicorn(settings)
        else:
            _serve_granian(settings)


def load_app() -> Any:
    """The app, in the process that will serve it. (Any: servers take what they call an app.)"""
    parent = multiprocessing.parent_process()
    if parent is not None:
        # A worker whose server was killed would keep the port for ever.
        _stop_after(lambda: _wait_for_end_of(parent.pid))
    # Not imported at the top: prometheus_client looks at PROMETHEUS_MULTIPROC_DIR as it is loaded.
    app = import_module("saas.app").create_app()
    # What is there now stays to the end. Else the collector walks all of it again and again, which
    # takes as long as the requests where these make many objects, as batches do.
    gc.collect()
    gc.freeze()
    # Nearly all of a batch's objects go by themselves: looked at every 700, they cost it a tenth.
    gc.set_threshold(10_000, 10, 10)
    return app


def _refuse_faults(settings: Settings) -> None:
    """What each worker would find for itself and tell in a traceback, told once in a line."""
    public_keys_of(settings)
    external_issuers_from(settings)
    # The check knows the models that are imported.
    import_module("saas.app")
    urls = str(settings.database_url), str(settings.platform_database_url)
    findings = check_installation(*urls, environment=settings.environment)
    if findings.errors:
        raise ConfigurationError("; ".join(findings.errors))


def _allow_files(wanted: int) -> None:
    """Let this process and its workers have so many open, a socket for each connection, as far as
    the system lets it. The usual 1,024 were made for programs that use select()."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _serve_granian(settings: Settings) -> None:
    # Until it serves, a worker would have this process' handler, which takes note of the signal
    # here and does nothing there.
    os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))
    Granian(
        _APP,
        factory=True,
        address=settings.host,
        port=settings.port,
        interface=Interfaces.ASGI,
        loop=Loops.uvloop if os.name == "posix" else Loops.auto,
        workers=settings.workers,
        backpressure=_MOST_CONNECTIONS,
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


def _stop_after(wait: Callable[[], object]) -> None:
    """Stop this process in an orderly way once `wait` has returned."""

    def watch() -> None:
        wait()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True, name="stop-after").start()


def _wait_for_end_of(parent: int | None) -> None:
    while os.getppid() == parent:
        time.sleep(0.2)
