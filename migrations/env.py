"""Alembic's entry. How migrations run is in saas/db/migrate.py, the models in saas/schema.py."""

from logging.config import fileConfig

from alembic import context
from alembic.util import CommandError

from saas import schema
from saas.db.migrate import VERSION_TABLE, run_offline, run_online
from saas.errors import ConfigurationError
from saas.installation import migrator_url

# Only the `alembic` command has a file; a caller in Python keeps its own logging.
if context.config.config_file_name is not None:
    fileConfig(context.config.config_file_name, disable_existing_loggers=False)

given = context.config.attributes
metadata = given.get("metadata", schema.metadata)

try:
    if context.is_offline_mode():
        run_offline(metadata)
    else:
        version_table = given.get("version_table", VERSION_TABLE)
        run_online(given.get("url") or migrator_url(), metadata, version_table=version_table)
except ConfigurationError as error:
    raise CommandError(str(error)) from error
