"""How migrations run: as which role, under which limits, one at a time. `migrations/env.py` and
the command line call this; what a migration does stands in `migrations/versions`."""

import logging
import re
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import psycopg
from alembic import command, context
from alembic.config import Config
from alembic.operations.ops import MigrationScript
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, MetaData, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from saas.db.autogenerate import PLUGIN
from saas.db.roles import APP, OWNER, PLATFORM
from saas.errors import ConfigurationError

MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"

# On the connection of one migrator, which closes with it. The last one makes Citus propagate DDL
# in order; plain PostgreSQL keeps it as a word without a meaning.
_SESSION = (
    f"SET ROLE {OWNER}",
    "SET search_path = public",
    # A backfill that row-level security would silently reduce to 0 rows is an error instead.
    "SET row_security = off",
    # A migration that waits for a table blocks every query that comes after it.
    "SET lock_timeout = '3s'",
    "SET statement_timeout = 0",
    "SET citus.multi_shard_modify_mode = 'sequential'",
)
VERSION_TABLE = "alembic_version"
_CREATED = re.compile(r"""create_table\(\s*["'](\w+)""")
# /readyz and the start of the app compare the revision with the head.
_OPEN_VERSION = f"GRANT SELECT ON public.{VERSION_TABLE} TO {APP}, {PLATFORM}"

_TURN = 0x73616173  # "saas"; advisory locks are of one database, so one number is enough.
_TURN_SECONDS = 600.0
_RETRY_PAUSES_SECONDS: tuple[float, ...] = (1, 2, 4, 8)

_log = logging.getLogger("alembic.saas")


def migrate(url: str, revision: str = "head") -> None:
    """Bring the database at `url` (a libpq address of saas_migrator) up to `revision`.

    Waits while another migrator is at work, and repeats a migration that could not get its
    locks. Raises ConfigurationError, one line for the operator."""
    try:
        command.upgrade(migration_config(url), revision)
    except (DBAPIError, CommandError) as error:
        raise ConfigurationError(f"migration failed: {reason_of(error)}") from error


def migration_config(url: str | None = None) -> Config:
    """Alembic's configuration without an alembic.ini, for `alembic.command`."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["url"] = url
    return config


@cache
def head_revision() -> str:
    """The revision that this version of the code needs. Raises ConfigurationError."""
    try:
        head = ScriptDirectory.from_config(migration_config()).get_current_head()
    except CommandError as error:
        raise ConfigurationError(f"the migrations are broken: {reason_of(error)}") from error
    if head is None:
        raise ConfigurationError(f"there are no migrations in {MIGRATIONS}")
    return head


@cache
def known_revisions() -> frozenset[str]:
    """Every revision of this version of the code. A database at another one is ahead of it."""
    script = ScriptDirectory.from_config(migration_config())
    return frozenset(revision.revision for revision in script.walk_revisions())


def current_revision(connection: psycopg.Connection[Any]) -> str | None:
    """The revision that the database is at; None before the first migration."""
    found = connection.execute("SELECT to_regclass('public.alembic_version') IS NOT NULL")
    if found.fetchone() != (True,):
        return None
    row = connection.execute("SELECT version_num FROM public.alembic_version").fetchone()
    return None if row is None else str(row[0])


def run_online(url: str, metadata: MetaData, *, version_table: str = VERSION_TABLE) -> None:
    """For env.py: run what the Alembic command asks for, each migration in its own transaction.
    `version_table` is where another project on the same database counts its own migrations."""
    engine = create_engine(
        "postgresql+psycopg://",
        creator=partial(psycopg.connect, url, connect_timeout=10, application_name="saas migrate"),
        poolclass=NullPool,
    )
    with engine.connect() as connection:
        _wait_for_turn(connection)
        for statement in _SESSION:
            connection.execute(text(statement))
        # Inside a transaction of ours Alembic would begin and commit none of its own.
        connection.commit()
        _configure(metadata, connection=connection, version_table=version_table)
        _run_migrations(connection)
        if connection.scalar(text("SELECT to_regclass('public.alembic_version')")) is not None:
            connection.execute(text(_OPEN_VERSION))
        connection.commit()


def run_offline(metadata: MetaData) -> None:
    """For env.py: print the SQL (`alembic upgrade --sql`) for an administrator to run."""
    _configure(
        metadata,
        dialect_name="postgresql",
        literal_binds=True,
        # In the style of psycopg every % of the SQL would be printed twice.
        dialect_opts={"paramstyle": "named"},
    )
    script = context.get_context().impl
    for statement in (f"SELECT pg_advisory_lock({_TURN})", *_SESSION):
        script.static_output(f"{statement};")
    context.run_migrations()
    script.static_output(f"{_OPEN_VERSION};\n")


def _configure(metadata: MetaData, **target: Any) -> None:
    # Any: what Alembic takes differs between a connection and a dialect's name.
    context.configure(
        target_metadata=metadata,
        transaction_per_migration=True,
        compare_server_default=True,
        include_name=_is_ours(metadata),
        autogenerate_plugins=[
            "alembic.autogenerate.*",
            "alembic.ext.checkconstraint_byname",
            PLUGIN,
        ],
        process_revision_directives=_number,
        **target,
    )


def _is_ours(metadata: MetaData) -> Callable[[str | None, str, Any], bool]:
    """Whether to compare a name of the database with the models. Alembic would drop every table
    that has no model, those of other projects and their counts too: only what revisions of this
    one have made is dropped with its model."""

    @cache
    def made() -> frozenset[str]:
        scripts = ScriptDirectory.from_config(context.config).walk_revisions()
        revisions = (Path(script.path) for script in scripts)
        return frozenset(
            name for path in revisions for name in _CREATED.findall(path.read_text("utf-8"))
        )

    def is_ours(name: str | None, kind: str, _: Any) -> bool:
        return kind != "table" or name in metadata.tables or name in made()

    return is_ours


def _wait_for_turn(connection: Connection) -> None:
    """Held until the connection closes. Asked for again and again, because one that waits inside
    a statement would stop the other's CREATE INDEX CONCURRENTLY for ever."""
    deadline = time.monotonic() + _TURN_SECONDS
    while not connection.scalar(text(f"SELECT pg_try_advisory_lock({_TURN})")):
        connection.rollback()
        if time.monotonic() > deadline:
            raise CommandError(f"another migration is running since {_TURN_SECONDS:.0f} seconds")
        time.sleep(0.2)
    connection.commit()


def _run_migrations(connection: Connection) -> None:
    for pause in (*_RETRY_PAUSES_SECONDS, None):
        try:
            context.run_migrations()
        except DBAPIError as error:
            if pause is None or not isinstance(error.orig, _BUSY):
                raise
            connection.rollback()
            _log.warning("%s; again in %g s", reason_of(error), pause)
            time.sleep(pause)
        else:
            return


_BUSY = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)


def _number(_context: MigrationContext, _revision: Any, scripts: list[MigrationScript]) -> None:
    """Count revisions, 0001 and so on; write none when nothing has changed."""
    options, attributes = context.config.cmd_opts, context.config.attributes
    is_compared = getattr(options, "autogenerate", False) or "autogenerate" in attributes
    is_empty = all(operations.is_empty() for operations in scripts[0].upgrade_ops_list)
    if is_compared and is_empty:
        _log.info("The database is what the models say: no migration written.")
        scripts.clear()
        return
    head = context.script.get_current_head() or "0"
    if head.isdecimal():
        scripts[0].rev_id = f"{int(head) + 1:04}"


def reason_of(error: Exception) -> str:
    """One line for the operator."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return (str(cause).splitlines() or [type(error).__name__])[0]
