"""Alembic's entry. How migrations run is in saas/db/migrate.py, the models in saas/schema.py."""

import subprocess
import sys
from importlib.util import find_spec
from logging.config import fileConfig

import psycopg
from alembic import context
from alembic.script import write_hooks
from alembic.util import CommandError

from saas import schema
from saas.db.migrate import VERSION_TABLE, run_offline, run_online
from saas.errors import ConfigurationError
from saas.installation import migrator_url
from saas.settings import load_settings

# Only the `alembic` command has a file; a caller in Python keeps its own logging.
if context.config.config_file_name is not None:
    fileConfig(context.config.config_file_name, disable_existing_loggers=False)

given = context.config.attributes
metadata = given.get("metadata", schema.metadata)


@write_hooks.register("module_if_installed")
def module_if_installed(path: str, options: dict[str, str]) -> None:
    """Alembic's hook `module`, where there is such a module: the migration is good without it."""
    if find_spec(options["module"]) is not None:
        write_hooks.module(path, options)


def database_url() -> str:
    """Of a database that is there. The models can only be compared with one that has a schema, so
    of the embedded server, which a fresh clone has never run, it is made first; nobody's own server
    is migrated unasked."""
    url: str = given.get("url") or migrator_url()
    compares = getattr(context.config.cmd_opts, "autogenerate", False)
    is_embedded = "url" not in given and load_settings().migration_database_url is None
    if compares and is_embedded and not has_schema(url):
        # Alembic runs one command in a process, and this one has begun.
        done = subprocess.run([sys.executable, "-m", "saas.cli", "migrate"], check=False)
        if done.returncode != 0:
            raise ConfigurationError("the new database could not be migrated")
    return url


def has_schema(url: str) -> bool:
    with psycopg.connect(url, connect_timeout=10) as connection:
        found = connection.execute("SELECT to_regclass('public.alembic_version') IS NOT NULL")
        return found.fetchone() == (True,)


try:
    if context.is_offline_mode():
        run_offline(metadata)
    else:
        version_table = given.get("version_table", VERSION_TABLE)
        run_online(database_url(), metadata, version_table=version_table)
except ConfigurationError as error:
    raise CommandError(str(error)) from error
