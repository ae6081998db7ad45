"""The installation's database, running for as long as a command needs it."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from saas.db.migrate import migrate
from saas.db.roles import MIGRATOR, bootstrap
from saas.dev.postgres import EmbeddedPostgres
from saas.installation import resolved
from saas.settings import Settings


@contextmanager
def running_database(
    settings: Settings, console: Console, *, prepare: bool = False
) -> Iterator[Settings]:
    """The resolved settings of a database that runs; roles and schema are only made or mended when
    asked to `prepare`, so that a command that looks changes nothing. The embedded server is stopped
    at the end, unless another process still uses it; an external one gets its migration at most."""
    if settings.is_embedded:
        with embedded_server(settings, console, prepare=prepare):
            yield resolved(settings)
        return
    ready = resolved(settings)
    if prepare and ready.migration_database_url is not None:
        migrate(ready.migration_database_url)
    yield ready


@contextmanager
def embedded_server(
    settings: Settings, console: Console, *, prepare: bool = True
) -> Iterator[EmbeddedPostgres]:
    """The embedded server, running inside the block."""
    server = EmbeddedPostgres(settings.data_path, log=console.print)
    server.start()
    try:
        if prepare:
            bootstrap(server.dsn(server.superuser, "postgres"))
            migrate(server.dsn(MIGRATOR))
        yield server
    finally:
        server.stop()
