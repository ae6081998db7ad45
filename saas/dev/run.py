"""`saas dev`: database, migration, demo tenants and server, started and stopped as one."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console

from saas.db.database import Database
from saas.db.migrate import migrate
from saas.db.roles import bootstrap
from saas.dev.lock import installation_lock
from saas.dev.postgres import EmbeddedPostgres
from saas.dev.seed import DemoTenant, seed_once
from saas.errors import ConfigurationError
from saas.installation import as_environment, resolved
from saas.settings import Settings

_READY_SECONDS = 30
_STOP_SECONDS = 30


def run(settings: Settings, console: Console) -> int:
    """Serve until Ctrl-C or SIGTERM, then stop all of it. The exit code of the server, 0 when it
    was stopped on request. Raises ConfigurationError where something is in the way."""
    stop = _StopRequested()
    with stop.listening(), running_database(settings, console, exclusive=True) as ready:
        _refuse_taken_port(ready)
        demo = asyncio.run(_seed(ready)) if settings.is_embedded else []
        return _serve(ready, demo, stop, console)


@contextmanager
def running_database(
    settings: Settings, console: Console, *, exclusive: bool = False
) -> Iterator[Settings]:
    """The resolved settings of a database that runs and is migrated. The embedded server is
    stopped at the end, unless another process still uses it; an external one is never touched,
    but for its migration where its URL is set."""
    if not settings.is_embedded:
        ready = resolved(settings)
        if ready.migration_database_url is not None:
            migrate(ready.migration_database_url)
        yield ready
        return
    with installation_lock(settings.data_path) if exclusive else _nothing():
        server = EmbeddedPostgres(settings.data_path, log=console.print)
        server.start()
        try:
            bootstrap(server.dsn(server.superuser, "postgres"))
            ready = resolved(settings)
            migrate(str(ready.migration_database_url))
            yield ready
        finally:
            server.stop()


@contextmanager
def _nothing() -> Iterator[None]:
    yield


class _StopRequested:
    """SIGINT and SIGTERM as a flag, so that the stop is orderly wherever they arrive."""

    def __init__(self) -> None:
        self.is_set = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        before = {s: signal.signal(s, self._note) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.is_set = True


def _refuse_taken_port(settings: Settings) -> None:
    with socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise ConfigurationError(
                f"cannot listen on {settings.host}:{settings.port} ({error.strerror}); "
                "set SAAS_PORT to another port"
            ) from None


async def _seed(settings: Settings) -> list[DemoTenant]:
    database = Database(str(settings.database_url), str(settings.platform_database_url), size=2)
    async with database:
        return await seed_once(database, settings.data_path / "demo.json")


def _serve(
    settings: Settings, demo: list[DemoTenant], stop: _StopRequested, console: Console
) -> int:
    command = [sys.executable, "-m", "saas.cli", "serve", "--stop-with-parent"]
    # Its own session, so that Ctrl-C reaches this process alone and the stop has one order.
    server = subprocess.Popen(  # noqa: S603 - our own module, no shell
        command, env={**os.environ, **as_environment(settings)}, start_new_session=True
    )
    try:
        if _wait_until_ready(settings, server, stop):
            _write_shell_variables(settings, demo)
            _greet(settings, demo, console)
        while server.poll() is None and not stop.is_set:
            time.sleep(0.1)
    finally:
        _end(server)
    return 0 if stop.is_set else (server.returncode or 1)


def _wait_until_ready(
    settings: Settings, server: "subprocess.Popen[bytes]", stop: _StopRequested
) -> bool:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline and server.poll() is None and not stop.is_set:
        try:
            with urllib.request.urlopen(f"{base_url(settings)}/readyz", timeout=2):  # noqa: S310
                return True
        except OSError:
            time.sleep(0.05)
    return False


def _end(server: "subprocess.Popen[bytes]") -> None:
    if server.poll() is not None:
        return
    server.terminate()
    try:
        server.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def base_url(settings: Settings) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{settings.port}"


def _write_shell_variables(settings: Settings, demo: list[DemoTenant]) -> None:
    """`. .saas/demo.env` makes the README's curl lines work as they stand."""
    if demo:
        lines = [f"URL={base_url(settings)}", f"PLATFORM_KEY={settings.platform_key}"]
        lines += [f"{tenant.slug.upper()}_KEY={tenant.key}" for tenant in demo]
        path = settings.data_path / "demo.env"
        path.touch(mode=0o600)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _greet(settings: Settings, demo: list[DemoTenant], console: Console) -> None:
    url = base_url(settings)
    lines = [f"Serving on {url} (API docs: {url}/docs). Ctrl-C stops everything.", ""]
    for tenant in demo:
        lines += [f"Tenant {tenant.slug} ({tenant.id})", f"  key {tenant.key}"]
    lines += ["", f"Platform key {settings.platform_key}", ""]
    if demo:
        key, other = demo[0].key, demo[-1].key
        lines += [
            "Try:",
            f"curl -s {url}/v1/projects -H 'Authorization: Bearer {key}'",
            f"curl -s {url}/v1/projects -H 'Authorization: Bearer {other}'",
            f"curl -s {url}/v1/projects -H 'Authorization: Bearer {key}' "
            "-H 'Content-Type: application/json' -d '{\"name\": \"Magnet\"}'",
            f"curl -s {url}/v1/stats -H 'Authorization: Bearer {key}'",
        ]
    # Plain text, unwrapped: these lines are made to be copied.
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
